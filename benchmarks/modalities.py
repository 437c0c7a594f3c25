"""Time of an epoch of DialogueTRM-U and of DialogueTRM-M on the same conversations.

    python benchmarks/modalities.py --config configs/iemocap_minilm.py --config.data.source=FOLDER_OF_IEMOCAP_PKL

IEMOCAP's feature files are not at hand everywhere, so that features are fabricated for its transcripts, in the layout
and the sizes of the published ``IEMOCAP_features_raw.pkl`` (100 text, 100 acoustic, 512 visual), and read like the real
ones from a folder beside a copy of the transcripts. Times are what real features would take; scores mean nothing.
"""

import dataclasses
import os
import pathlib
import pickle
import shutil
import sys
import tempfile
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax  # noqa: E402
import numpy as np  # noqa: E402
from absl import flags  # noqa: E402

from benchmarks import record  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.data.readers import iemocap  # noqa: E402
from dtrm_jax.errors import InputError  # noqa: E402
from dtrm_jax.evaluation.run import evaluate_run  # noqa: E402
from dtrm_jax.run_directory import RunDirectory  # noqa: E402
from dtrm_jax.run_directory.log_file import read_records  # noqa: E402
from dtrm_jax.training import loop  # noqa: E402

SIZES = {"utterance": 100, "acoustic": 100, "visual": 512}

_CONFIG = command_line.define_config("The experiment, on IEMOCAP: a config's name or file.")
_MODALITIES = flags.DEFINE_list("modalities", ["u", "uav"], "The models to time.")


def fabricate(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Copies the transcripts of ``source`` to ``folder`` and writes random features for them."""
    (path,) = [path for path in iemocap.files(source) if path.name == iemocap.FILE]
    shutil.copy(path, folder / iemocap.FILE)
    splits = iemocap.read(path).splits
    conversations = [conversation for split in splits.values() for conversation in split]
    random = np.random.default_rng(0)
    fields = [{c.id: [turn.id for turn in c.turns] for c in conversations}]
    fields.append({c.id: [turn.speaker for turn in c.turns] for c in conversations})
    labels = iemocap.LABELS
    fields.append({c.id: [labels.index(turn.label) for turn in c.turns] for c in conversations})
    for size in SIZES.values():
        fields.append({c.id: list(random.normal(size=(len(c), size)).astype(np.float32)) for c in conversations})
    fields.append({c.id: [turn.text for turn in c.turns] for c in conversations})
    train = [c.id for split in ("train", "dev") for c in splits[split]]
    content = (*fields, train, [c.id for c in splits["test"]])
    (folder / "IEMOCAP_features_raw.pkl").write_bytes(pickle.dumps(content, protocol=2))


def time_epoch(config: Config, modalities: str, folder: pathlib.Path) -> dict[str, Any]:
    """Trains one epoch and evaluates on test; returns the measured times."""
    model = dataclasses.replace(config.model, modalities=modalities)
    train = dataclasses.replace(config.train, epochs=1, save_every_steps=0)
    data = dataclasses.replace(config.data, source=str(folder))
    run = RunDirectory(folder / f"run-{modalities}")
    loop.train(dataclasses.replace(config, model=model, train=train, data=data), str(run.path))
    records = [row for row in read_records(run.metrics_file) if row["split"] == "train"]
    began = time.perf_counter()
    metrics = evaluate_run(run).metrics
    speed = float(np.median([row["utterances_per_second"] for row in records]))
    return {
        "features": dict(run.read_manifest().shape.features),
        "steps": run.read_manifest().total_steps,
        "utterances_per_second": speed,
        "test_utterances": metrics["n"],
        "test_seconds": time.perf_counter() - began,
    }


def main() -> int:
    """Times, prints and writes; returns the exit status."""
    config = command_line.load_config(_CONFIG)
    source = config.data.source or os.environ.get("DTRM_IEMOCAP_SOURCE", "")
    if config.data.name != "iemocap" or not source:
        raise InputError("expected a config of IEMOCAP and the folder of iemocap.pkl as --config.data.source")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fabricate(pathlib.Path(source), folder)
        turns = sum(map(len, iemocap.read(folder).splits["train"]))
        results = {modalities: time_epoch(config, modalities, folder) for modalities in _MODALITIES.value}
    print(f"\n{config.name}, {turns} turns per epoch, median of its steps\n")
    for modalities, row in results.items():
        row["seconds_an_epoch"] = turns / row["utterances_per_second"]
        speed, seconds = row["utterances_per_second"], row["seconds_an_epoch"]
        print(f"{modalities:<4}{speed:>8.1f} utterances/s{seconds:>8.0f} s per epoch")
    device = {"device": jax.devices()[0].device_kind, "cpus": os.cpu_count()}
    record.write({"config": config.name, **device, "turns": turns, "results": results})
    return 0


if __name__ == "__main__":
    command_line.run(main)
