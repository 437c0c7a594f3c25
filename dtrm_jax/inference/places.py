"""A trained model without what says where things lay on the machine that it was trained on."""

import dataclasses
import os
import re
from pathlib import Path, PureWindowsPath

from dtrm_jax import config as config_lib
from dtrm_jax.config import Config
from dtrm_jax.inference.trained import Trained

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
# The folders of a path that begins at a root, a drive or a home folder, each with what separates it from the next.
_FOLDERS = re.compile(
    r"""(?<![\w./\\])                              # not inside another path or an address
        (?:
            (?:~\w*|[A-Za-z]:) [\\/] (?:[^\\/\s]+[\\/])*
            | [\\/] (?:[^\\/\s]+[\\/])+
        )""",
    re.VERBOSE,
)


def without_places(trained: Trained) -> Trained:
    """Returns a model whose settings and facts name files and folders without where they lay."""
    source = trained.config.data.source
    notes = tuple(_note_without_places(note, source) for note in trained.manifest.notes)
    return dataclasses.replace(
        trained,
        config=_config_without_places(trained.config),
        manifest=dataclasses.replace(trained.manifest, notes=notes),
    )


def _config_without_places(config: Config) -> Config:
    values = config_lib.to_dict(config)
    values["data"] |= {"source": "", "cache": ""}
    for section, setting in ((values["model"]["encoder"], "pretrained"), (values["train"], "init_from")):
        if not _HUB_NAME.fullmatch(section[setting]) or Path(section[setting]).is_dir():
            section[setting] = PureWindowsPath(section[setting]).name
    return config_lib.from_dict(values)


def _note_without_places(note: str, source: str) -> str:
    """Returns a note whose paths have lost their folders, those of the data's source even if there are spaces in them.

    Names of clips, which a note may quote, are paths too.
    """
    place = Path(os.path.expanduser(source))
    for folder in (place, *([place.parent] if place.suffix else [])):  # it may be one file
        if len(folder.parts) > 1:
            note = note.replace(f"{folder}{os.sep}", "")
    return _FOLDERS.sub("", note)
