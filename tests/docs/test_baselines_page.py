"""``docs/baselines.md`` is what the files of ``dtrm_jax/models/baselines/`` say."""

import re
import runpy

from dtrm_jax.models import ARCHITECTURES
from dtrm_jax.models.baselines.baseline import Baseline
from tests.runs import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_baselines.py"))


def test_the_page_is_current():
    assert MAKER["page"]() == (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8"), "run: make tables"


def test_it_shows_every_model_with_its_equations_and_what_is_different():
    page = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^## (\w+)$", page, flags=re.MULTILINE)
    shown = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(shown) == [name for name, model in ARCHITECTURES.items() if issubclass(model, Baseline)]
    for name, text in shown.items():
        equations = re.findall(r"```text\n(.*?)\n```", text, flags=re.DOTALL)
        assert any("y_" in block for block in equations), name
        assert "different" in text and re.search(r"\b20\d\d\b", text), name
        assert "``" not in text.replace("```", ""), name


def test_parameters_are_those_of_the_equations():
    """bc-LSTM by hand: two layers of LSTMs in two directions, and two affine maps."""
    cell = [4 * 100 * (inputs + 100 + 2) for inputs in (100, 200)]
    assert MAKER["parameters"]("c_lstm", "u") == 2 * sum(cell) + 201 * 100 + 101 * 6
