"""Does the model find what is there? The settings of Tables 2, 4 and 5 on planted conversations, beside the optimum.

On generated conversations the best possible accuracy is known for every information set (``data.planted_optimum``), so
that it shows whether context, modalities and fusion are worth to the model what they are worth.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtrm_jax.config import Config, to_dict
from dtrm_jax.data import builders
from dtrm_jax.data.planted_optimum import Information, optimal_accuracy
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.table import align
from dtrm_jax.experiments import grid
from dtrm_jax.experiments.grid import Setting
from dtrm_jax.replacing import replacing

_TEXT = Information("u", context=True)
_ALL = Information("uav", context=True)

# What each setting lets the model know; the first six differ in that alone.
SETTINGS: tuple[tuple[Setting, Information], ...] = (
    (
        Setting(
            "text-free",
            "text, context-free",
            {"model.modalities": "u", "tokens.indi_context": False, "model.context.utterance": "free"},
        ),
        Information("u", context=False),
    ),
    (Setting("text", "text (DialogueTRM-U)", {"model.modalities": "u"}), _TEXT),
    (Setting("text-voice", "text + voice", {"model.modalities": "ua"}), Information("ua", context=True)),
    (Setting("text-face", "text + face", {"model.modalities": "uv"}), Information("uv", context=True)),
    (Setting("all", "all three (DialogueTRM-M)", {"model.modalities": "uav"}), _ALL),
    (
        Setting(
            "all-dependent",
            "all, voice and face in context",
            {
                "model.modalities": "uav",
                "model.context.acoustic": "dependent",
                "model.context.visual": "dependent",
            },
        ),
        Information("uav", context=True, past_features=True),
    ),
    *(
        (Setting(f"all-{kind}", f"all, {name} fusion", {"model.modalities": "uav", "model.fusion.kind": kind}), _ALL)
        for kind, name in (("additive", "additive"), ("concat", "concatenating"), ("max", "max-pooling"))
    ),
)


def run(config: Config, seeds: int, only: Sequence[str], folder: Path) -> str:
    """Trains and evaluates what is not done yet, and writes ``table.json`` into the folder.

    Args:
        config: Planted conversations; each setting changes it in its own way.
        seeds: Runs of each setting, with ``train.seed`` 0, 1, ...
        only: Names of the settings to run; all if empty.
        folder: Where the runs are kept.

    Returns:
        The table, as text.

    Raises:
        InputError: The config is of other data, or a setting is unknown.
    """
    if config.data.name != "planted":
        raise InputError(f"config.data.name: expected planted, whose optimum is known, found {config.data.name}")
    chosen = grid.choose([setting for setting, _ in SETTINGS], only)
    test = builders.load(config.data).splits.get("test", ())
    if not test:
        raise InputError("config.data.planted.test: expected at least 1, found 0")
    rows = []
    for setting, information in SETTINGS:
        if setting in chosen:
            metrics = [grid.run(config, setting, seed, folder) for seed in range(seeds)]
            optimum = optimal_accuracy(test, config.data.planted, information).accuracy
            accuracies = [one["accuracy"] for one in metrics]
            rows.append(
                {"setting": setting.name, "shown": setting.description, "accuracy": accuracies} | {"optimum": optimum}
            )
    result = {"config": to_dict(config), "test_turns": sum(map(len, test)), "rows": rows}
    result["config"]["data"] |= {"source": "", "cache": ""}  # folders of one machine
    with replacing(folder / "table.json") as file:
        file.write(json.dumps(result, indent=1) + "\n")
    return format_table(result)


def format_table(result: dict[str, Any]) -> str:
    """Returns the rows beside the optimum, in per cent, aligned for a terminal."""
    rows = [["setting", "accuracy", "optimum", "missing"]]
    for row in result["rows"]:
        missing = row["optimum"] - sum(row["accuracy"]) / len(row["accuracy"])
        accuracy = grid.mean_and_deviation(row["accuracy"])
        rows.append([row["shown"], accuracy, f"{100 * row['optimum']:.1f}", f"{100 * missing:.1f}"])
    seeds = len(result["rows"][0]["accuracy"])
    about = f"planted conversations, {result['test_turns']} turns of the test split, {seeds} seed" + "s" * (seeds > 1)
    return "\n".join([about, "", *align(rows)])
