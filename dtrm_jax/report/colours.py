"""The colours of emotions. They stand beside names or letters, so that nothing is told by colour alone.

An emotion has the same colour in every report. The colours of a corpus's emotions can be told apart by people with
each of the three kinds of colour blindness, and letters on them can be read; a test measures both.
"""

import dataclasses
import itertools
import math
import zlib
from collections.abc import Sequence

# The feelings that corpora distinguish, each with its colour, the ink of letters on it, and the names it goes by.
_BLACK, _WHITE = "#000", "#fff"
_FEELINGS = (
    ("#a5a6a7", _BLACK, "neutral none no_emotion other others"),
    ("#ffe92a", _BLACK, "joy joyful happy happiness positive amusement love"),
    ("#2c9bf1", _BLACK, "sad sadness grief"),
    ("#9d1e2d", _WHITE, "anger angry mad negative rage"),
    ("#6e1581", _WHITE, "fear fearful scared afraid nervousness"),
    ("#409125", _BLACK, "disgust disgusted contempt"),
    ("#b8f8f8", _BLACK, "surprise surprised"),
    ("#fc9c1f", _BLACK, "excited excitement anticipation"),
    ("#c55198", _BLACK, "frustrated frustration annoyance"),
    ("#6be5a9", _BLACK, "peaceful calm calmness trust relief content"),
    ("#431d0d", _WHITE, "powerful proud pride"),
)
_COLOURS = tuple((back, ink) for back, ink, _ in _FEELINGS)
_KNOWN = {name: place for place, (_, _, names) in enumerate(_FEELINGS) for name in names.split()}

# Of real values: from the least to the most. Where both signs occur, the middle is zero.
_TWO_SIDED = (
    *("#1f4e9c", "#4674b5", "#739bcb", "#a3c0df", "#d0e0ef"),
    "#f4f4f4",
    *("#fbdcb8", "#f3b97a", "#dd9043", "#b9681d", "#8a4508"),
)
_ONE_SIDED = (
    *("#f3f7d4", "#dcecbf", "#bfdfb8", "#9dd0b5", "#79bfb5", "#58abb4"),
    *("#3d94b0", "#2f7ba8", "#2a619b", "#264787", "#1f2f66"),
)
_LETTERS = 3  # that are tried to tell the names of a strip apart


@dataclasses.dataclass(frozen=True)
class Swatch:
    """How a class is drawn.

    Attributes:
        place: Its place among the classes.
        short: The letters that stand for it in a strip.
        back: Its colour.
        ink: The colour of letters on it.
    """

    place: int
    short: str
    back: str
    ink: str


@dataclasses.dataclass(frozen=True)
class Scale:
    """The colours of a range of real values.

    Attributes:
        low: The value of the first colour.
        high: That of the last; larger.
        colours: From ``low`` to ``high``.
    """

    low: float
    high: float
    colours: tuple[str, ...]

    @classmethod
    def over(cls, low: float, high: float) -> "Scale":
        """Returns the scale for values between two; zero has the middle colour if it lies between them."""
        if low < 0 < high:
            most = max(-low, high)
            return cls(-most, most, _TWO_SIDED)
        return cls(low, high if high > low else low + 1, _ONE_SIDED)

    @property
    def kind(self) -> str:
        """The letter of its colours in the page: ``d``, from the negative to the positive, or ``q``."""
        return "d" if self.colours is _TWO_SIDED else "q"

    def step(self, value: float) -> int:
        """Returns the index of a value's colour."""
        share = (value - self.low) / (self.high - self.low)
        return min(max(math.floor(share * len(self.colours)), 0), len(self.colours) - 1)


def swatches(names: Sequence[str]) -> dict[str, Swatch]:
    """Returns how each class is drawn.

    A class that is no known feeling takes the colour that its name chooses, or the next that is free; if there are more
    classes than colours, some share one.
    """
    places: dict[str, int] = {}
    free = list(range(len(_COLOURS)))
    for name in names:
        if _KNOWN.get(name.casefold()) in free:
            places[name] = _KNOWN[name.casefold()]
            free.remove(places[name])
    for name in names:
        if name not in places:
            wanted = zlib.crc32(name.encode("utf-8", "surrogatepass")) % len(_COLOURS)
            places[name] = next((place for place in free if place >= wanted), free[0] if free else wanted)
            free = [place for place in free if place != places[name]]
    letters = _shortened(names)
    return {name: Swatch(index, letters[name], *_COLOURS[places[name]]) for index, name in enumerate(names)}


def rules(swatches: Sequence[Swatch]) -> str:
    """Returns the style rules of classes ``e<place>``, and of the steps ``d<index>`` and ``q<index>`` of scales."""
    classes = [f".e{one.place}{{--e:{one.back};--i:{one.ink}}}" for one in swatches]
    steps = [
        f".{letter}{index}{{--e:{colour}}}"
        for letter, colours in (("d", _TWO_SIDED), ("q", _ONE_SIDED))
        for index, colour in enumerate(colours)
    ]
    return "\n".join(classes or steps)


def _shortened(names: Sequence[str]) -> dict[str, str]:
    """Returns the first letters of each name, as few as tell it from the others; a short number stays as it is.

    Where neither is possible it is a number: that of the class, or the next which stands for no other class.
    """
    letters = {name: "".join(filter(str.isalnum, name)).casefold() for name in names}
    result = {}
    for name in names:
        others = [letters[other] for other in names if other != name]
        whole = "".join(filter(str.isalnum, name))
        tried = [whole[:count] for count in range(1, _LETTERS + 1) if whole]
        apart = [short for short in tried if not any(one.startswith(short.casefold()) for one in others)]
        if not apart and whole.isdecimal() and len(whole) <= _LETTERS and whole not in others:
            apart = [whole]
        if apart:
            result[name] = apart[0][0].upper() + apart[0][1:]
    for index, name in enumerate(names, start=1):
        if name not in result:
            taken = {*letters.values(), *(short.casefold() for short in result.values())}
            result[name] = next(number for number in map(str, itertools.count(index)) if number not in taken)
    return {name: result[name] for name in names}
