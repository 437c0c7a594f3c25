"""Config files by name and by path."""

import pytest

from dtrm_jax import config_files
from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from tests.runs import ROOT


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_names_are_those_of_the_files():
    assert config_files.names() == sorted(file.stem for file in (ROOT / "configs").glob("*.py"))
    assert "meld" in config_files.names()


@pytest.mark.parametrize("name", config_files.names())
def test_a_name_is_found_from_anywhere(elsewhere, name):
    assert config_files.find(name) == ROOT / "configs" / f"{name}.py"
    config = config_files.load(name)
    assert isinstance(config, Config) and config.name == name


def test_a_path_is_the_file_itself(elsewhere):
    (elsewhere / "mine.py").write_text(
        "from dtrm_jax import Config\n\n\ndef get_config():\n    return Config(name='m')\n"
    )
    assert config_files.load("mine.py").name == "m"
    assert config_files.load(str(elsewhere / "mine.py")).name == "m"
    with pytest.raises(InputError, match="'mine'"):
        config_files.find("mine")


def test_a_file_here_comes_before_a_name(elsewhere):
    (elsewhere / "demo").write_text("def get_config():\n    raise RuntimeError\n")
    assert config_files.find("demo").read_text().startswith("def get_config")
    (elsewhere / "demo").unlink()
    (elsewhere / "demo").mkdir()
    assert config_files.find("demo") == ROOT / "configs" / "demo.py"


@pytest.mark.parametrize("wrong", ["mled", "configs/mled.py", "meld.py", "../meld", ""])
def test_what_is_not_there_is_one_line_with_the_names(elsewhere, wrong):
    with pytest.raises(InputError) as caught:
        config_files.load(wrong)
    message = str(caught.value)
    assert repr(wrong) in message and "\n" not in message
    assert f"; the configs that come with the package are {', '.join(config_files.names())}" in message
    assert message.endswith("; did you mean meld?" if wrong else config_files.names()[-1])


def test_every_config_says_in_a_line_what_it_is():
    assert config_files.summaries().keys() == set(config_files.names())
    assert config_files.summaries()["meld"] == "MELD with the paper's recipe: DialogueTRM-U on bert-base-uncased."
    assert all(config_files.summaries().values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1\n1 / 0", "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("def get_config():\n    return {}['a']", "mine.py, line 2: KeyError: 'a'"),
        ("def get_config():\n    import json\n    json.loads('')", "mine.py, line 3: JSONDecodeError: Expecting value"),
        ("import no_such_module", "mine.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\ndef get_config(:", "mine.py, line 2: SyntaxError: invalid syntax"),
        ("def get_config():\n    open('/nowhere')", "mine.py, line 2: FileNotFoundError: [Errno 2] No such file"),
        ("def get_config():\n    raise SystemExit(0)", "mine.py, line 2: SystemExit: 0"),
        ("x = 3", "mine.py: expected a function get_config, found none"),
        ("get_config = 3", "mine.py: expected a function get_config, found none"),
        ("def get_config():\n    return 3", "mine.py: expected get_config() to return a Config, found int"),
        ("def get_config(): pass", "mine.py: expected get_config() to return a Config, found NoneType; is its return"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(elsewhere, content, message):
    (elsewhere / "mine.py").write_text(content)
    with pytest.raises(InputError) as caught:
        config_files.load("mine.py")
    assert str(caught.value).startswith(message)
