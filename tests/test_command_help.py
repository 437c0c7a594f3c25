"""``--help`` and ``--help_settings``, as a terminal of 80 columns shows them."""

import re

import pytest

from dtrm_jax import command_help, command_line, config_files
from dtrm_jax.commands import train
from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.settings import leaves


def _answer(*arguments: str) -> str:
    texts = command_help.Texts(train, shared=command_line, listing=lambda: "more")
    return texts.answer(command_help.asked(arguments))


@pytest.mark.parametrize(
    ("arguments", "help_settings"),
    [
        (["--help"], None),
        (["-h"], None),
        (["--config", "demo", "--help", "extra"], None),
        (["--help_settings"], ""),
        (["--help_settings", "epoch"], "epoch"),
        (["--help_settings=epoch", "--config=demo"], "epoch"),
        (["--help_settings", "--config=demo"], ""),
    ],
)
def test_what_is_asked(arguments, help_settings):
    found = command_help.asked(arguments)
    assert found.help_settings == help_settings and found.help == (help_settings is None)


@pytest.mark.parametrize("arguments", [[], ["--config", "demo", "--config.train.epochs=3"], ["--helpfull"], ["help"]])
def test_what_asks_for_nothing(arguments):
    assert command_help.asked(arguments) is None


def test_the_help_lists_flags_configs_and_sections_in_80_columns():
    shown = _answer("--help")
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.startswith("Trains a model: dtrm-train --config meld") and "``" not in shown
    assert "  --workdir: The run directory" in shown and "  --[no]debug: " in shown
    assert "Default: None" not in shown and "\n\nmore\n\n" in shown
    words = " ".join(shown.split())
    for name, summary in config_files.summaries().items():
        assert summary and f"\n  {name} " in shown and summary.replace("``", "") in words
    for section in {path.rpartition(".")[0] for path, *_ in leaves(Config())}:
        assert re.search(rf"\n  {re.escape(f'config.{section}'.rstrip('.'))}\s", shown)


def test_every_setting_is_explained_in_80_columns():
    shown = _answer("--help_settings")
    assert max(map(len, shown.splitlines())) <= 80
    named = [line.partition("=")[0] for line in shown.splitlines() if not line.startswith(" ")]
    assert sorted(named) == sorted(f"--config.{path}" for path, *_ in leaves(Config()))


def test_a_pattern_finds_names_and_meanings():
    by_name = _answer("--help_settings", "Validation_SEED")
    assert by_name.startswith("--config.data.validation_seed=0\n    Seed of a random dev split. (whole number from 0")
    by_meaning = _answer("--help_settings", "early")
    assert by_meaning.startswith("--config.train.patience=0\n") and by_meaning.count("--config.") == 1
    choices = _answer("--help_settings", r"train\.score_test$|fusion\.kind|context.visual")
    assert "(dependent | free)" in choices


def test_the_values_are_those_of_the_config():
    assert "--config.tokens.window=14\n" in _answer("--help_settings", "window")
    assert "--config.tokens.window=5\n" in _answer("--help_settings", "window", "--config", "demo")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--help_settings", "zzz"], "no setting has 'zzz' in its name or meaning"),
        (["--help_settings", "("], "expected a regular expression, found '\\('"),
        (["--help_settings", "--config=mled"], "no config is called 'mled'; .*; did you mean meld\\?"),
    ],
)
def test_a_question_without_an_answer_is_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        _answer(*arguments)
    assert "\n" not in str(caught.value)


def test_columns_keep_their_place_under_a_long_name():
    entries = {"a": "first", "b" * 30: "second", "c": "word " * 8}
    assert command_help.columns(entries, 44).splitlines() == [
        "  a                         first",
        "  " + "b" * 30,
        "                            second",
        "  c                         word word word",
        "                            word word word",
        "                            word word",
    ]
