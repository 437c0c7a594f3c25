"""A tiny experiment on generated conversations, trained in seconds."""

import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dtrm_jax.config import Config
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records

ROOT = Path(__file__).parents[1]

# Of a config, for commands: the smallest DialogueTRM-U, which compiles in a few seconds.
ONE_LAYER = (
    "--config.model.modalities=u",
    "--config.model.encoder.layers=1",
    "--config.model.intra_modal.layers=1",
)


def tiny_run_config(cache: Path) -> Config:
    """Returns a config with dropout on, so that resuming has randomness to get right."""
    config = Config(name="tiny")
    config.data.name, config.data.cache = "planted", str(cache)
    planted = config.data.planted
    planted.train, planted.dev, planted.test, planted.turns = 16, 5, 7, 6
    config.tokens.window, config.tokens.max_length = 3, 48
    config.packing.tokens, config.packing.row_lengths = 384, (48,)
    encoder = config.model.encoder
    encoder.pretrained = ""
    encoder.hidden_size, encoder.layers, encoder.heads, encoder.intermediate_size = 16, 1, 2, 24
    intra_modal = config.model.intra_modal
    intra_modal.layers, intra_modal.heads, intra_modal.feed_forward = 1, 2, 24
    config.optimizer.encoder_learning_rate = config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 2
    config.train.epochs, config.train.save_every_steps, config.train.log_every_steps = 3, 2, 2
    return config


def environment(cache: Path) -> dict[str, str]:
    """Returns the environment of a command that a test runs: its own cache, the suite's compilations."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DTRM_")}
    compilations = {
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache/jax_tests"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    return {**kept, **compilations, "DTRM_CACHE": str(cache)}


def records(workdir: Path, split: str = "train") -> list[dict[str, Any]]:
    """Returns what the log of a run says of a split."""
    return [record for record in read_records(workdir / "metrics.jsonl") if record["split"] == split]


def copied(workdir: Path, to: Path) -> Path:
    """Returns a copy of a run directory."""
    return Path(shutil.copytree(workdir, to))


def saved_state(workdir: Path, which: str = "latest") -> tuple[int, Any]:
    """Returns the step of a checkpoint and everything in it, as NumPy arrays by path."""
    checkpoints = RunDirectory(workdir).checkpoints("weighted_f1", read_only=True)
    step = checkpoints.resolve(which)
    folder = Path(workdir).resolve() / "checkpoints" / str(step) / "state"
    checkpointer = ocp.PyTreeCheckpointer()
    # As NumPy arrays, whatever devices they were saved from.
    as_numpy = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), checkpointer.metadata(folder).item_metadata.tree
    )
    restored = checkpointer.restore(folder, restore_args=as_numpy)
    return step, {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree.leaves_with_path(restored)}


def assert_same_state(found: tuple[int, Any], expected: tuple[int, Any]) -> None:
    """Compares two checkpoints bit for bit."""
    assert found[0] == expected[0]
    assert found[1].keys() == expected[1].keys()
    for path, value in expected[1].items():
        assert found[1][path].dtype == value.dtype, path
        np.testing.assert_array_equal(found[1][path], value, err_msg=path)
