"""Which conversations are predicted next, together."""

import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.inference.next_pack import NextPack, Prepared, next_pack
from dtrm_jax.inference.shapes import ladder
from tests.factories import sized
from tests.trained import multimodal, random_trained

SMALL, MIDDLE, LARGE = (PackShape(((8, rows),), 4 * rows) for rows in (1, 3, 8))
SHAPES = (SMALL, MIDDLE, LARGE)


def waiting(*conversations: tuple[int, ...]) -> list[Prepared]:
    """Returns conversations whose sequences have so many tokens, of which each own half is rounded up."""
    talks = [Conversation("c", tuple(Turn(str(place), "A", "") for place in range(len(one)))) for one in conversations]
    return [Prepared.of(talk, sized(*one)) for talk, one in zip(talks, conversations, strict=True)]


@pytest.mark.parametrize(
    ("conversations", "shape", "members"),
    [
        ([(5, 2)], SMALL, (0,)),
        # Two small ones fill the smallest better than all three would fill a larger one.
        ([(4,), (8,), (4,)], SMALL, (0, 2)),
        ([(8,), (8,), (8,)], MIDDLE, (0, 1, 2)),  # as well as the smallest would do
        ([(2,), (8, 8, 8), (6,)], SMALL, (0, 2)),  # the first is never passed over
        ([(8, 8), (3,), (5,), (8, 8, 8, 8)], MIDDLE, (0, 2, 1)),  # the largest that fits comes first
        ([(8, 8), *[(8, 8)] * 5], LARGE, (0, 1, 2, 3)),
        ([(8,) * 9, (8,)], None, (0,)),  # which no shape holds
    ],
)
def test_the_shape_that_does_most_for_its_time_is_filled_with_what_fits(conversations, shape, members):
    found = next_pack(SHAPES, waiting(*conversations))
    assert (found.shape, found.members) == (shape, members)


def test_no_two_sequences_have_one_place():
    given = waiting((5, 3, 2), (6, 1), (4, 4), (7,), (2, 2, 2))
    members, shape, starts = next_pack((LARGE,), given)
    assert sorted(members) == [0, 1, 2, 3, 4] and shape is LARGE
    places = [
        range(start, start + length)
        for place, some in zip(members, starts, strict=True)
        for start, length in zip(some, given[place].lengths, strict=True)
    ]
    assert all(one.start // 8 == (one.stop - 1) // 8 for one in places), "a sequence lies in one row"
    assert len({place for one in places for place in one}) == sum(map(len, places))


def test_own_tokens_are_bounded_where_the_shape_bounds_them():
    bounded = PackShape(((8, 8),), 32, own_tokens=12)
    assert next_pack((bounded,), waiting((8,), (8,), (8,), (8,))).members == (0, 1, 2)
    assert next_pack((bounded, LARGE), waiting((8,) * 4)).shape is LARGE


def test_without_text_it_is_turns_that_fill_a_pack():
    small, large = PackShape((), 4), PackShape((), 16)
    given = [
        one._replace(lengths=[0] * len(one.lengths), own=0, size=len(one.lengths)) for one in waiting((1, 1), (1,))
    ]
    assert next_pack((small, large), given) == NextPack((0, 1), small, ((0, 0), (0,)))
    assert next_pack((small, large), given * 6).shape is large


@pytest.mark.parametrize("own", [0, 100])
@pytest.mark.parametrize("rows", [((16, 40), (32, 8)), ((16, 1),), ((16, 16),)])
def test_there_are_at_most_four_shapes_and_the_last_holds_whatever_a_pack_of_training_holds(own, rows):
    trained = random_trained(multimodal("u", model__encoder__pooling="mean"), rows=rows, own_tokens=own)
    shapes = ladder(trained)
    assert len(shapes) <= 4 and list(shapes) == sorted(shapes, key=lambda shape: shape.tokens)
    assert trained.manifest.shape in shapes and not shapes[-1].own_tokens
    assert shapes[-1].rows[-1][0] >= trained.config.tokens.max_length
    assert all(length in dict(shapes[-1].rows) for length, _ in rows)
