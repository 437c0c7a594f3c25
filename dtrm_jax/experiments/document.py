"""Results in documents, from their files: ``python -m dtrm_jax.experiments.document README.md``.

A document names an outcome between two comments, and what stands between them is written from it:

    <!-- results/meld_minilm/table3.json -->
    (the table, and how it was made)
    <!-- end -->

With ``classes VARIANT`` after the file, it is the F1 of every class in that row instead. Files are relative to the
document.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from dtrm_jax.errors import InputError, exit_status
from dtrm_jax.experiments import rendering
from dtrm_jax.experiments.outcome import Outcome
from dtrm_jax.replacing import replacing

_OPENING = r"(<!-- (?P<file>\S+\.json)(?: classes (?P<variant>\S+))? -->\n)"
# Up to its own end: one that is missing must not cost the text up to another's.
_BLOCK = re.compile(_OPENING + r"(?:(?!<!-- ).)*(<!-- end -->)", re.DOTALL)


def updated(document: Path) -> str:
    """Returns the text of a document with every block written anew from its file.

    Raises:
        InputError: A block has no end, a file is missing or not an outcome, or a row is not in it.
    """

    def written(block: re.Match) -> str:
        file = document.parent / block["file"]
        try:
            outcome = Outcome.from_json(json.loads(file.read_text(encoding="utf-8")))
            text = rendering.by_class(outcome, block["variant"]) if block["variant"] else rendering.markdown(outcome)
        except OSError as error:
            raise InputError(f"{document}: {block['file']}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{document}: {block['file']}: expected the outcome of a table: {error!r}") from error
        return f"{block[1]}\n{text}\n{block[4]}"

    text = document.read_text(encoding="utf-8")
    whole = {block.start() for block in _BLOCK.finditer(text)}
    if cut := [block for block in re.finditer(_OPENING, text) if block.start() not in whole]:
        raise InputError(f"{document}: expected <!-- end --> after the block of {cut[0]['file']}, found none")
    return _BLOCK.sub(written, text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the documents' results anew; returns the exit status."""
    parser = argparse.ArgumentParser("python -m dtrm_jax.experiments.document", description=__doc__.splitlines()[0])
    parser.add_argument("documents", nargs="+", type=Path, help="Markdown files, changed in place")
    parsed = parser.parse_args(arguments)

    def write() -> None:
        for document in parsed.documents:
            text = updated(document)
            with replacing(document) as file:
                file.write(text)

    return exit_status(write)


if __name__ == "__main__":
    sys.exit(main())
