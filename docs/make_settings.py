"""Writes ``docs/settings.md`` from the fields of ``dtrm_jax/config.py``: ``python docs/make_settings.py``.

What it says of each setting is read from the field and its comments, by ``dtrm_jax/explained.py``.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dtrm_jax import config as config_lib  # noqa: E402
from dtrm_jax.explained import Explained, sections  # noqa: E402

PAGE = Path(__file__).with_name("settings.md")
_TITLE = "# Settings"
_OPENING = """
Every setting of an experiment, with its default, the values that it admits, and its meaning. This page is written from
`dtrm_jax/config.py` by `make tables`.

A config file (`configs/*.py`) starts from these defaults and changes some of them. Any setting can also be changed on
the command line, with its full name. A setting that does not exist, a value of the wrong type and a value out of bounds
are refused in one line.

```sh
dtrm-train --config meld --config.train.epochs=3 --config.tokens.window=20
```

In a terminal, `dtrm-train --help` lists the configs and the sections, and `dtrm-train --help_settings PATTERN` explains
the settings in whose name or meaning the pattern, a regular expression, is found.

From Python: `config = dtrm_jax.load_config("meld")`, then `config.train.epochs = 3`.

Section, equation and table numbers are those of the paper (arXiv:2010.07637). The defaults are the paper's settings
(section 5.2) where it names one.
"""
_ESCAPED = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;"})  # what a cell of a table must not hold


def page() -> str:
    """Returns the text of the page."""
    text = [_TITLE, _OPENING]
    for section in sections(config_lib.Config()):
        text.append(f"## {section.path or 'The experiment'}\n\n{section.meaning.replace('``', '`')}\n")
        text.append("| setting | default | admitted | meaning |\n|---|---|---|---|")
        text += [_row(setting) for setting in section.settings]
        text.append("")
    return "\n".join(text)


def _row(setting: Explained) -> str:
    """Returns the row of a setting."""
    default = f"`{setting.value}`" if setting.value != "" else "empty"
    values = ", ".join(f"`{choice}`" for choice in setting.choices) or setting.admitted
    return f"| `--config.{setting.path}` | {default} | {values} | {setting.meaning.translate(_ESCAPED)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
