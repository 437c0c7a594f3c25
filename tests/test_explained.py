"""What a setting means is read from where it is declared."""

import dataclasses

from dtrm_jax import explained
from dtrm_jax.settings import section, setting


@dataclasses.dataclass
class Section:
    """A section."""

    # Stands above,
    # in two lines.
    above: int = setting(3, low=0, high=9)

    behind: float = setting(0.5, low=0, below=1)  # stands behind
    none: bool = True
    both: str = setting(
        "x",
        choices=("x", "y"),
    )  # in the last line


def test_comments_above_and_behind_are_found():
    assert explained.comments(Section) == {
        "above": "Stands above, in two lines.",
        "behind": "Stands behind",
        "none": "",
        "both": "In the last line",
    }


@dataclasses.dataclass
class Outer:
    """Has settings.

    And more to say.
    """

    inner: Section = section(Section)
    lengths: tuple[int, ...] = setting((8, 16), low=8, high=64, increasing=True)  # of rows


def test_sections_come_outer_first_with_what_each_setting_admits():
    outer, inner = explained.sections(Outer(lengths=(32,)))
    assert (outer.path, inner.path) == ("", "inner") and outer.meaning.startswith("Has settings.\n\nAnd more")
    (lengths,) = outer.settings
    assert (lengths.path, lengths.value, lengths.meaning) == ("lengths", (32,), "Of rows")
    assert lengths.admitted == "increasing whole numbers from 8 to 64" and lengths.choices == ()
    assert {one.path: (one.choices, one.admitted) for one in inner.settings} == {
        "inner.above": ((), "whole number from 0 to 9"),
        "inner.behind": ((), "number from 0 to below 1"),
        "inner.none": (("True", "False"), ""),
        "inner.both": (("x", "y"), ""),
    }
