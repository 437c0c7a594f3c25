"""``docs/settings.md`` is what ``dtrm_jax/config.py`` says."""

import re
import runpy

import pytest

from dtrm_jax.config import Config
from dtrm_jax.settings import leaves
from tests.runs import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_the_page_is_current(page):
    assert MAKER["page"]() == page, "run: make tables"


def test_every_setting_is_explained_once(page):
    rows = re.findall(r"^\| `--config\.([\w.]+)` \| (.+?) \| (.+?) \| (.*) \|$", page, re.MULTILINE)
    assert sorted(row[0] for row in rows) == sorted(path for path, *_ in leaves(Config()))
    assert all(len(meaning) > 8 for *_, meaning in rows), "a setting without a comment in config.py"
