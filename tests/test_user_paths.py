"""Home folders, and users who have none."""

import os
import pwd

import jax
import pytest

from dtrm_jax.commands import train
from dtrm_jax.compilation_cache import keep_compilations
from dtrm_jax.config import DataConfig
from dtrm_jax.data import corpus
from dtrm_jax.errors import InputError
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.user_paths import cache_folder, expanded, new_folder


@pytest.fixture
def homeless(monkeypatch):
    """Neither ``$HOME`` nor an account, as in a container with a user id of its own."""

    def nobody(*_):
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("DTRM_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


def test_home_is_expanded_and_the_cache_has_its_order(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DTRM_CACHE", raising=False)
    assert expanded("~/data") == tmp_path / "data" and os.fspath(expanded("data/~x")) == "data/~x"
    assert cache_folder() == tmp_path / ".cache/dtrm_jax"
    monkeypatch.setenv("DTRM_CACHE", "~/kept")
    assert cache_folder() == tmp_path / "kept" and cache_folder("~/own") == tmp_path / "own"


def test_runs_and_new_folders_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert RunDirectory("~/runs/mine").path == RunDirectory("runs/mine").path == tmp_path / "runs/mine"
    (tmp_path / "runs/mine").mkdir(parents=True)
    (tmp_path / "runs/mine/config.json").write_text("{}")
    assert train._kept_config(["--workdir=~/runs/mine"]) == [f"--config={tmp_path}/runs/mine"]
    assert new_folder("~/moods") == new_folder("moods") == tmp_path / "moods"
    for name in (".", "~", "runs/..", tmp_path):
        with pytest.raises(InputError, match="is the current folder, which cannot be replaced"):
            new_folder(name)


def test_without_a_home_one_line_says_what_to_name(homeless):
    with pytest.raises(InputError, match=r"^~/data: the home folder is not known; set \$HOME, or give a path without"):
        expanded("~/data")
    with pytest.raises(InputError, match=r"not known.*--config\.data\.cache=DIR or \$DTRM_CACHE"):
        corpus.load(DataConfig(name="planted"))
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        keep_compilations()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
