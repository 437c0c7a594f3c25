"""The colours of emotions can be told apart, also by the colour-blind, and the letters on them can be read."""

import itertools

import numpy as np
import pytest

from dtrm_jax.data.readers import dailydialog, emorynlp, iemocap, meld
from dtrm_jax.planted.rules import PLANTED_LABELS
from dtrm_jax.report.colours import Scale, rules, swatches

LABEL_SPACES = {
    "meld": meld.LABELS.names,
    "iemocap": iemocap.LABELS.names,
    "planted": PLANTED_LABELS.names,
    "emorynlp": emorynlp.LABELS.names,
    "dailydialog": dailydialog.LABELS.names,
    "sentiment": meld.SENTIMENTS.names,
}
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    share = np.array([int(digits[place : place + 2], 16) for place in (0, 2, 4)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    """Ottosson's perceptual space; a difference of 0.02 is just noticeable."""
    to_lms = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_lms.append([0.0883024619, 0.2817188376, 0.6299787005])
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    to_lab.append([0.0259040371, 0.7827717662, -0.8086757660])
    return to_lab @ np.cbrt(to_lms @ np.clip(rgb, 0, 1))


def contrast(one, other):
    """WCAG's ratio."""
    low, high = sorted(0.05 + linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return high / low


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("corpus", LABEL_SPACES)
def test_the_emotions_of_a_corpus_can_be_told_apart(corpus, vision):
    seen = {name: oklab(VISION[vision] @ linear(one.back)) for name, one in swatches(LABEL_SPACES[corpus]).items()}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.1, (one, other)


def test_letters_can_be_read():
    for names in LABEL_SPACES.values():
        for name, one in swatches(names).items():
            assert contrast(one.back, one.ink) >= 4.5, name


def test_an_emotion_has_one_colour_in_every_report():
    found = {}
    for names in LABEL_SPACES.values():
        for name, one in swatches(names).items():
            assert found.setdefault(name.casefold(), one.back) == one.back
    assert found["joy"] == found["joyful"] == found["happy"] == found["happiness"]
    assert swatches(("awe", "joy"))["awe"] == swatches(("awe", "fear"))["awe"]  # of a name that is not known


def test_colours_are_shared_only_when_there_are_no_more():
    names = ("joy", "happiness", *(f"feeling {number}" for number in range(9)))
    assert len({one.back for one in swatches(names).values()}) == len(names) == 11
    assert len({one.back for one in swatches([*names, "more", "still more"]).values()}) == 11


def test_letters_tell_names_apart():
    def letters(*names):
        return [one.short for one in swatches(names).values()]

    assert letters("anger", "joy", "neutral", "sadness", "surprise") == ["A", "J", "N", "Sa", "Su"]
    assert letters("happy_1", "happy_2", "x") == ["1", "2", "X"]
    assert letters("sad", "sadness", "\u202e<b>") == ["1", "2", "B"]
    assert letters("!", "?") == ["1", "2"]
    for count in (12, 28, 120):
        assert letters(*map(str, range(count))) == list(map(str, range(count)))
    assert letters("1", "12", "!", "?", "3a", "3b") == ["1", "12", "3", "4", "3a", "3b"]


def test_rules_hold_nothing_of_the_names():
    css = rules(list(swatches(("}</style><script>", "joy")).values()))
    assert "script" not in css and css.count("{") == css.count("}") == 2


@pytest.mark.parametrize(
    ("low", "high", "kind", "steps"),
    [
        (-1.0, 0.5, "d", {-1.0: 0, 0.0: 5, 0.5: 8, 1.0: 10}),
        (0.0, 10.0, "q", {0.0: 0, 5.0: 5, 10.0: 10}),
        (-4.0, -2.0, "q", {-4.0: 0, -2.0: 10}),
        (3.0, 3.0, "q", {3.0: 0}),
    ],
)
def test_values_have_a_scale_with_zero_in_the_middle_if_both_signs_occur(low, high, kind, steps):
    scale = Scale.over(low, high)
    assert scale.kind == kind and {value: scale.step(value) for value in steps} == steps


def test_a_scale_goes_from_dark_to_light_or_through_light():
    def lightness(scale):
        return [oklab(linear(colour))[0] for colour in scale.colours]

    one_sided, two_sided = lightness(Scale.over(0, 1)), lightness(Scale.over(-1, 1))
    assert one_sided == sorted(one_sided, reverse=True)
    assert two_sided[:6] == sorted(two_sided[:6]) and two_sided[5:] == sorted(two_sided[5:], reverse=True)
