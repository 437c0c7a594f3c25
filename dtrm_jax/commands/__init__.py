"""The commands: flags in, text out. Each module has ``run``, which the functions here call as the programs do."""

import importlib
from collections.abc import Callable

from dtrm_jax import interruption


def _program(name: str) -> Callable[[], None]:
    def start() -> None:
        interruption.begin_command()  # before the imports, which take a while
        importlib.import_module(f"dtrm_jax.commands.{name}").run()

    return start


dtrm_train = _program("train")
dtrm_eval = _program("eval")
dtrm_predict = _program("predict")
dtrm_export = _program("export")
dtrm_serve = _program("serve")
dtrm_extract = _program("extract")
