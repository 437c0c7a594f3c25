"""Rows of text with aligned columns, for the terminal."""

from collections.abc import Sequence

WIDTH = 80  # columns of a terminal, which no line exceeds
_GAP = "  "


def align(rows: Sequence[Sequence[str]], names: bool = True) -> list[str]:
    """Returns the rows as lines of aligned columns.

    Args:
        rows: Cells; all rows have as many.
        names: Whether the first column holds names. It is then aligned on the left, and names are shortened so that no
            line exceeds 80 columns. All other columns are aligned on the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if names:
        widths[0] = min(widths[0], WIDTH - sum(len(_GAP) + width for width in widths[1:]))
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        if names:
            cells[0] = _shorten(row[0], widths[0]).ljust(widths[0])
        lines.append(_GAP.join(cells))
    return lines


def percent(fraction: float) -> str:
    """Returns a fraction in percent, with two decimals."""
    return f"{100 * fraction:.2f}"


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
