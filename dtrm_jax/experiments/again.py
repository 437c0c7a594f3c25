"""How a table is made again: its command, and what that costs."""

import shlex
from typing import Any

from dtrm_jax import config_files
from dtrm_jax.conversation import MODALITIES
from dtrm_jax.experiments import records, tuning
from dtrm_jax.experiments.grid import duration
from dtrm_jax.experiments.outcome import Outcome
from dtrm_jax.settings import as_flag, flat
from dtrm_jax.tasks import TASKS

_WIDTH = 110  # of a line of a command


def base_of(outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """Returns the config that comes with the package and is nearest to a table's, and what is changed of it."""
    candidates = {name: _changes(outcome, name) for name in config_files.names()}
    nearest = min(candidates, key=lambda name: (len(candidates[name]), name != outcome.settings["name"], name))
    return nearest, candidates[nearest]


def command(outcome: Outcome, folder: str) -> str:
    """Returns the command that makes a table, for a shell.

    Args:
        outcome: The table.
        folder: Of its records.
    """
    name, changes = base_of(outcome)
    seeds = 1 + max(seed for row in outcome.run for seed in row.seeds)
    words = ["python", "-m", "dtrm_jax.experiments", outcome.table, f"--config={name}"]
    if _needs_source(outcome):
        words.append("--config.data.source=FOLDER")
    words += [f"--config.{path}={as_flag(value)}" for path, value in changes.items()]
    words += [f"--try={text}" for text in tuning.written(outcome.tries)]
    words.append(f"--seeds={seeds}")
    if len(outcome.run) < len(outcome.rows):
        words.append(f"--only={','.join(row.variant for row in outcome.run)}")
    return _broken([*map(shlex.quote, words), f"--records={shlex.quote(folder)}"])


def cost(outcome: Outcome) -> str:
    """Returns in words how long a run took; empty if none was measured."""
    if not outcome.costs:
        return ""
    seconds = sorted(one["seconds"] for one in outcome.costs)
    shortest, longest = duration(seconds[0]), duration(seconds[-1])
    took = shortest if shortest == longest else f"{shortest} to {longest}"
    machines = {f"{one['machine']}, {_of_cores(one['cores'])}" for one in outcome.costs if one["machine"]}
    on = f" ({'; '.join(sorted(machines))})" if machines else ""
    cut = sum(not one["complete"] for one in outcome.costs)
    runs = sum(len(row.seeds) for row in outcome.run)
    of = "" if len(seconds) == runs else f", of {len(seconds)} of {runs} runs that were measured"
    more = f"; {cut} {'was' if cut == 1 else 'were'} interrupted and took longer" if cut else ""
    return f"A run took {took}{on}{of}{more}. Other programs may have used the machine, too."


def _of_cores(count: int | None) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def takes_features(outcome: Outcome) -> bool:
    """Whether a row that was run takes features."""
    return outcome.settings["model"]["utterance"] == "features" or _taken(outcome) != {"u"}


def _changes(outcome: Outcome, name: str) -> dict[str, Any]:
    """Returns the settings of a table that differ from a config's, by path."""
    base, found = (
        flat(records.compared(settings, takes_features=takes_features(outcome)))
        for settings in (records.settings_of(config_files.load(name)), outcome.settings)
    )
    if not base["train.select_by"] and found["train.select_by"] in {task.default_metric for task in TASKS.values()}:
        base["train.select_by"] = found["train.select_by"]
    return {path: value for path, value in found.items() if base[path] != value}


def _needs_source(outcome: Outcome) -> bool:
    """Whether the data is neither generated nor downloaded."""
    corpus = outcome.settings["data"]["name"]
    return corpus != "planted" and (corpus != "meld" or _taken(outcome) != {"u"})


def _taken(outcome: Outcome) -> set[str]:
    """Returns the letters of the modalities that the rows which were run take."""
    own = outcome.settings["model"]["modalities"]
    return {
        letter
        for row in outcome.run
        for letter in (_letters(row.variant) if row.changes is None else row.changes.get("model.modalities", own))
    }


def _letters(variant: str) -> str:
    """Returns the modalities in the name of a variant: of ``c-lstm-ua-same`` it is ``ua``; of a name without, ``u``."""
    parts = [part for part in variant.split("-") if set(part) <= set(MODALITIES)]
    return parts[-1] if parts else "u"


def _broken(words: list[str]) -> str:
    """Returns the words in lines, as a shell takes them."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) < _WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f"    {word}")
    return " \\\n".join(lines)


def described(name: str) -> str:
    """Returns the first line of a config's docstring, as its file has it; empty if the config does not come along."""
    return config_files.summaries().get(name, "")
