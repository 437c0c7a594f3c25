"""The public names: what ``import dtrm_jax`` gives, and what it costs."""

import doctest
import subprocess
import sys

import pytest

import dtrm_jax
from dtrm_jax import api, config_files
from dtrm_jax.config import Config
from tests.runs import ROOT, environment


def test_importing_the_package_starts_no_jax():
    code = (
        "import sys, dtrm_jax\n"
        "assert 'numpy' not in sys.modules\n"
        "dtrm_jax.load_config('demo'), dtrm_jax.Config, dtrm_jax.InputError\n"
        "print([name for name in ('jax', 'flax', 'tensorflow_datasets', 'orbax') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_every_public_name_is_there():
    assert set(dtrm_jax.__all__) <= set(dir(dtrm_jax))
    for name in dtrm_jax.__all__:
        assert getattr(dtrm_jax, name).__doc__, name
    assert dtrm_jax.Config is Config and dtrm_jax.load_config is config_files.load and dtrm_jax.train is api.train
    assert "no_such_name" not in dir(dtrm_jax)
    with pytest.raises(AttributeError, match="module 'dtrm_jax' has no attribute 'no_such_name'"):
        dtrm_jax.no_such_name  # noqa: B018


class _Checker(doctest.OutputChecker):
    """An example that shows no output may print something, as training does."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


def test_the_examples_of_the_docstrings_run(tmp_path, monkeypatch, capfd):
    for name, value in environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def smaller(name: str) -> Config:
        """The example's config with one layer of each kind, which compile in half the time."""
        config = config_files.load(name)
        config.model.encoder.layers = config.model.intra_modal.layers = 1
        return config

    monkeypatch.setattr(dtrm_jax, "load_config", smaller)
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(_Checker(), verbose=False)
    # In this order: the later examples take the run that train's leaves behind.
    things = (("", dtrm_jax), ("t", api.train), ("e", api.evaluate), ("l", dtrm_jax.load))
    examples = [finder.find(thing, name)[0] for name, thing in things]
    assert all(example.examples for example in examples)
    for example in examples:
        result = runner.run(example)
        assert not result.failed, capfd.readouterr().out
    assert {"metrics.json", "predictions.csv", "analysis.json", "report.html"} <= {
        file.name for file in (tmp_path / "runs/first/eval/dev").iterdir()
    }
