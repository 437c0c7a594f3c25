"""What changes of a config are worth on dev: the rows are the config as it is, and with the settings of each try.

The test split is never read, so that trying costs nothing of what a test is for.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from dtrm_jax import settings
from dtrm_jax.config import Config, validate
from dtrm_jax.errors import InputError
from dtrm_jax.experiments.layout import Row, Table
from dtrm_jax.experiments.variants import Variant

NAME = "tuning"
AS_IT_IS = Variant("as-it-is", "as it is", {})
_EXPECTED = "expected NAME:SETTING=VALUE, such as names:tokens.speaker_names=true"
_TRY = re.compile(r"(?P<name>[\w-]+):(?P<path>[\w.]+)=(?P<value>.*)", re.DOTALL)


def table(tries: Sequence[Variant]) -> Table:
    """Returns the table; the config as it is stands first, and the others are compared with it.

    Args:
        tries: From ``variants``.
    """
    rows = tuple(Row(variant, variant.shown, {}) for variant in (AS_IT_IS, *tries))
    title = "Changes of the config, judged on dev"
    return Table(name=NAME, title=title, rows=rows, references=(AS_IT_IS,), chosen=True, split="dev")


def variants(config: Config, tries: Sequence[str]) -> list[Variant]:
    """Returns a variant for every name, in the order in which they come first.

    Args:
        config: What they change.
        tries: ``NAME:SETTING=VALUE``; the settings of one name belong together. A value is written as on the command
            line.

    Raises:
        InputError: There is none, one is not of that form, or a setting or its value is bad; or the config scores the
            test split while it trains.
    """
    if not tries:
        raise InputError(f"{NAME}: --try: {_EXPECTED}, found nothing")
    found: dict[str, dict[str, Any]] = {}
    for text in tries:
        parts = _TRY.fullmatch(text)
        if parts is None:
            raise InputError(f"--try: {_EXPECTED}, found {text!r}")
        if parts["name"] == AS_IT_IS.name:
            raise InputError(f"--try: {AS_IT_IS.name} is the config without a change, choose another name")
        found.setdefault(parts["name"], {})[parts["path"]] = _value(config, parts["path"], parts["value"])
    if config.train.score_test or any(changes.get("train.score_test") for changes in found.values()):
        raise InputError(f"{NAME}: config.train.score_test: expected False, as the test split is not read, found True")
    return [Variant(name, name, changes) for name, changes in found.items()]


def written(tries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the texts that ``variants`` reads.

    Args:
        tries: Name -> path of a setting -> value.
    """
    return [
        f"{name}:{path}={settings.as_flag(value)}" for name, changes in tries.items() for path, value in changes.items()
    ]


def _value(config: Config, path: str, text: str) -> Any:
    """Returns the value that a setting would have if it were given on the command line."""
    if path not in {known for known, *_ in settings.leaves(config)}:
        raise InputError(f"--try: config.{path}: no such setting{settings.nearest_setting(path, config, '')}")
    values, arguments = flags.FlagValues(), ["", f"--config.{path}={text}"]
    flag = config_flags.DEFINE_config_dataclass("config", copy.deepcopy(config), flag_values=values, sys_argv=arguments)
    try:
        values(arguments)
    except flags.Error as error:
        raise InputError(f"--try: config.{path}: {' '.join(str(error).split())}") from error
    return next(value for known, _, _, value in settings.leaves(validate(flag.value)) if known == path)
