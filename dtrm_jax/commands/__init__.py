"""The commands: flags in, text out. Each module has ``run``, which the functions here call as the programs do."""

import importlib

from dtrm_jax import interruption


def dtrm_train() -> None:
    """Trains a model."""
    _start("train")


def dtrm_eval() -> None:
    """Evaluates a model."""
    _start("eval")


def dtrm_predict() -> None:
    """Predicts the emotions of conversations."""
    _start("predict")


def dtrm_export() -> None:
    """Exports a model or prunes a run."""
    _start("export")


def dtrm_serve() -> None:
    """Serves a model."""
    _start("serve")


def dtrm_extract() -> None:
    """Extracts features of recordings or of texts."""
    _start("extract")


def _start(name: str) -> None:
    interruption.begin_command()  # before the imports, which take a while
    importlib.import_module(f"dtrm_jax.commands.{name}").run()
