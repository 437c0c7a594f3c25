"""Results in documents, from their files: ``python -m dtrm_jax.experiments.document README.md``.

A document names an outcome between two comments, and what stands between them is written from it:

    <!-- results/meld_minilm/table3.json -->
    (the table, and how it was made)
    <!-- end -->

With ``classes VARIANT`` after the file, it is the F1 of every class in that row instead. ``<!-- all of results -->`` is
everything in the folder ``results`` that belongs to the document (``pages``), whose plots are drawn anew, too, and
``<!-- main of results -->`` the table of the README (``summary``). Files and folders are relative to the document.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from dtrm_jax.errors import InputError, exit_status
from dtrm_jax.experiments import pages, rendering, summary
from dtrm_jax.replacing import replacing

_WHAT = r"(?P<file>\S+\.json)(?: classes (?P<variant>\S+))?|(?P<kind>all|main) of (?P<folder>\S+)"
_OPENING = rf"(<!-- (?:{_WHAT}) -->\n)"
# Up to its own end: one that is missing must not cost the text up to another's.
_BLOCK = re.compile(_OPENING + r"(?:(?!<!-- ).)*(?P<end><!-- end -->)", re.DOTALL)


def updated(document: Path) -> str:
    """Returns the text of a document with every block written anew from its file.

    Raises:
        InputError: A block has no end, a file is missing or not an outcome, or a row is not in it.
    """

    def written(block: re.Match) -> str:
        return f"{block[1]}\n{_content(document, block)}\n{block['end']}"

    text = document.read_text(encoding="utf-8")
    whole = {block.start() for block in _BLOCK.finditer(text)}
    if cut := [block for block in re.finditer(_OPENING, text) if block.start() not in whole]:
        what = cut[0]["file"] or cut[0]["folder"]
        raise InputError(f"{document}: expected <!-- end --> after the block of {what}, found none")
    return _BLOCK.sub(written, text)


def _content(document: Path, block: re.Match) -> str:
    if block["folder"]:
        folder = document.parent / block["folder"]
        if not folder.is_dir():
            raise InputError(f"{document}: expected a folder of records, found no {block['folder']}")
        return pages.written(document, folder) if block["kind"] == "all" else summary.main_results(folder)
    try:
        outcome = pages.read(document.parent / block["file"])
        return rendering.by_class(outcome, block["variant"]) if block["variant"] else rendering.markdown(outcome)
    except InputError as error:
        raise InputError(f"{document}: {error}") from error
    except KeyError as error:
        raise InputError(f"{document}: {block['file']}: expected a row that was run, found {error}") from error


def _drawn(documents: Sequence[Path]) -> None:
    """Draws the plots that documents show."""
    blocks = ((document, block) for document in documents for block in _BLOCK.finditer(document.read_text("utf-8")))
    for folder in dict.fromkeys(
        document.parent / block["folder"] for document, block in blocks if block["kind"] == "all"
    ):
        pages.draw(folder)


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
        _drawn(parsed.documents)

    return exit_status(write)


if __name__ == "__main__":
    sys.exit(main())
