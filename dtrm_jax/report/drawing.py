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
    drawing = environment(_TEMPLATES, keep_trailing_newline=True)
    drawing.filters["percent"] = percent
    script = (_TEMPLATES / "conversations.js").read_text(encoding="utf-8")
    own = {"style": Markup(style()), "script": Markup(script), "opened": _OPENED, "plot": plot}
    own["script_hash"] = digest(script)  # the page forbids itself every script but this one, and every request
    return drawing.get_template(template).render(**content, **own)


def environment(templates: Path, **options: Any) -> jinja2.Environment:
    """Returns what fills a folder's templates: what is put into a page is escaped, and nothing may be missing.

    Args:
        templates: The folder.
        options: Of jinja2, besides.
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )


def digest(text: str) -> str:
    """Returns the SHA-256 of a script or a style sheet, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def style() -> str:
    """Returns the style sheet that all pages share."""
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8")
