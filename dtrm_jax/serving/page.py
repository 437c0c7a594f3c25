"""The page for people: one file, which asks for nothing but the service that sent it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.report.colours import rules, swatches
from dtrm_jax.report.drawing import digest, environment, style
from dtrm_jax.serving.limits import Limits

_TEMPLATES = Path(__file__).parent / "templates"


def draw_page(predictor: Predictor, facts: Mapping[str, Any], limits: Limits) -> tuple[str, str]:
    """Returns the page of a model, as HTML, and its content security policy.

    The policy admits the page's own style and script, by their hashes, and requests to the service alone. What people
    type, and what the model says, is put into the page as text by the script.

    Args:
        predictor: The model.
        facts: ``facts_of`` the model.
        limits: Of the service: what the page asks at once stays within them.
    """
    classes = _classes(predictor)
    script, own = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    sheet = style() + rules(list(classes.values())) + own
    page = (
        environment(_TEMPLATES)
        .get_template("page.html")
        .render(facts=facts, limits=limits, swatches=classes, style=Markup(sheet), script=Markup(script))
    )
    return page, (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(sheet)}; connect-src 'self'; "
        "img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _classes(predictor: Predictor) -> dict[str, Any]:
    """Returns how each emotion is drawn; nothing where emotions are real values."""
    return swatches(predictor.labels) if predictor.trained.task.kind == "classes" else {}


def _hash(text: str) -> str:
    return f"'sha256-{digest(text)}'"
