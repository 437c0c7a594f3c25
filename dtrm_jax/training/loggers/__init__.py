"""Where the log of training goes besides ``metrics.jsonl``: one file per logger, and one line here.

A logger's module has ``open_logger(run, config, start)``, which returns a ``logger.Logger``. Its package is imported
only when ``config.train.loggers`` names it.
"""

import dataclasses
import importlib
import importlib.util

from dtrm_jax.config import Config
from dtrm_jax.errors import InputError, chosen
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.training.loggers.apart import Apart


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of logger.

    Attributes:
        module: Has ``open_logger``.
        package: What it imports besides this project, by the name under which it is installed, too; empty if nothing.
    """

    module: str
    package: str = ""


LOGGERS = {
    "tensorboard": Kind(module="dtrm_jax.training.loggers.tensorboard", package="tensorboardX"),
    "wandb": Kind(module="dtrm_jax.training.loggers.weights_and_biases", package="wandb"),
    "mlflow": Kind(module="dtrm_jax.training.loggers.ml_flow", package="mlflow"),
}


def named(config: Config) -> dict[str, Kind]:
    """Returns the loggers that a config names, by name; nothing is imported.

    Raises:
        InputError: There is no such logger, or its package is not installed.
    """
    found = {}
    for name in filter(None, (part.strip() for part in config.train.loggers.split(","))):
        kind = found[name] = chosen(LOGGERS, name, "config.train.loggers")
        if kind.package and importlib.util.find_spec(kind.package) is None:
            raise InputError(
                f"config.train.loggers: {name} needs the package {kind.package}, which is not installed, "
                f"run: pip install {kind.package}"
            )
    return found


def open_loggers(run: RunDirectory, config: Config, start: int) -> list[Apart]:
    """Opens the loggers that a config names; what goes wrong in them later ends them, and never the training.

    Args:
        run: Where the training is kept.
        config: Of the training.
        start: Steps done. A logger goes on where it stopped then.

    Raises:
        InputError: As ``named``, or a logger cannot be opened: no such server, or no account there.
    """
    opened = []
    for name, kind in named(config).items():
        try:
            logger = importlib.import_module(kind.module).open_logger(run, config, start)
        except Exception as error:  # whatever its package raises
            for other in opened:
                other.close()
            reason = " ".join(str(error).split())[:400]
            raise InputError(
                f"config.train.loggers: {name} cannot be opened ({type(error).__name__}: {reason}); training needs none"
            ) from error
        opened.append(Apart(name, logger))
    return opened
