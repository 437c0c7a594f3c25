"""From values to a page: what all pages have in common."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dtrm_jax.evaluation.aligned import percent
from dtrm_jax.report import plot

_TEMPLATES = Path(__file__).parent / "templates"
# Conversations that are open at first, and so printed; the reader opens others.
_OPENED = 3


def draw(template: str, content: dict[str, Any]) -> str:
    """Returns a page as HTML.

    Args:
        template: Its file in ``templates``.
        content: What the template receives, besides what all pages have.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    script = (_TEMPLATES / "conversations.js").read_text(encoding="utf-8")
    # The page forbids itself every script but this one, and every request.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"style": Markup(style()), "script": Markup(script), "script_hash": digest, "opened": _OPENED, "plot": plot}
    return environment.get_template(template).render(**content, **own)


def style() -> str:
    """Returns the style sheet that all pages share."""
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8")
