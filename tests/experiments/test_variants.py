"""What the rows of the tables change: the sequences, the parameters and who sees whom, and nothing else."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.data.packing import build_pack
from dtrm_jax.errors import InputError
from dtrm_jax.experiments import grid, tables
from dtrm_jax.experiments import variants as v
from tests.factories import (
    CLS,
    SEP,
    param_shapes,
    random_conversation,
    random_params,
    text_examples,
    tiny_config,
    tiny_model,
    with_features,
)

SIZES = {"acoustic": 5, "visual": 7}
ALL = {row.variant.name: row.variant for name in tables.NAMES for row in tables.table(name, "iemocap").rows}


def changed_tiny(variant):
    """A tiny config, changed, and the features that its model takes."""
    config = grid.changed(tiny_config(model__fusion__layers=1, model__fusion__heads=2), variant.changes)
    names = {"a": "acoustic", "v": "visual"}
    taken = [names[letter] for letter in config.model.modalities if letter in names]
    return config, tuple((name, SIZES[name]) for name in taken)


def example(variant):
    """A conversation of several speakers."""
    return text_examples([random_conversation(np.random.default_rng(0), 9)], changed_tiny(variant)[0])[0]


def sequences(variant):
    """Its token sequences."""
    return example(variant).sequences


def shapes(variant):
    """Path -> shape of every parameter."""
    config, features = changed_tiny(variant)
    model = tiny_model(config, PackShape(((29, 4),), 16, features=features))
    return flax.traverse_util.flatten_dict(jax.tree.map(lambda x: x.shape, param_shapes(model)), sep="/")


def test_every_row_is_a_config_and_no_two_are_the_same():
    configs = [grid.changed(Config(), variant.changes) for variant in ALL.values()]
    # 12 of Table 4, 4 more of Table 3, 8 more of Table 5, 2 more of the planted table.
    assert len(configs) == 26
    assert all(one != other for i, one in enumerate(configs) for other in configs[:i])


def test_without_context_a_sequence_is_the_utterance_alone():
    for alone in (v.BERT, v.U_FREE):
        for mine, with_context in zip(sequences(alone), sequences(v.U), strict=True):
            assert mine.token_ids.tolist() == with_context.token_ids[: with_context.first_segment].tolist()


def test_without_the_transformer_the_sequences_stay_and_its_parameters_go():
    with_it, without = shapes(v.U), shapes(v.WITHOUT_TRANSFORMER)
    assert without == {path: shape for path, shape in with_it.items() if not path.startswith("intra_modal/")}
    assert shapes(v.BERT) == without
    for mine, other in zip(sequences(v.WITHOUT_TRANSFORMER), sequences(v.U), strict=True):
        np.testing.assert_array_equal(mine.token_ids, other.token_ids)
        assert mine.first_segment == other.first_segment


def test_without_segments_the_sequences_stay_and_their_embedding_is_not_told():
    assert shapes(v.WITHOUT_SEGMENTS) == shapes(v.WITHOUT_TRANSFORMER)
    for mine, other in zip(sequences(v.WITHOUT_SEGMENTS), sequences(v.WITHOUT_TRANSFORMER), strict=True):
        np.testing.assert_array_equal(mine.token_ids, other.token_ids)
        assert mine.first_segment == other.first_segment  # what a mean reads
    told = [example(row).context_segment for row in ALL.values()]
    assert told == [row not in (v.WITHOUT_SEGMENTS, v.WITHOUT_SEPARATOR) for row in ALL.values()]


def test_without_the_separator_one_token_goes_from_sequences_with_context():
    assert shapes(v.WITHOUT_SEPARATOR) == shapes(v.WITHOUT_TRANSFORMER)
    shorter = 0
    for mine, other in zip(sequences(v.WITHOUT_SEPARATOR), sequences(v.WITHOUT_SEGMENTS), strict=True):
        ids = other.token_ids.tolist()
        if ids.count(SEP) == 2:
            del ids[ids.index(SEP)]
            shorter += 1
        assert mine.token_ids.tolist() == ids and ids[0] == CLS and ids[-1] == SEP
    assert shorter > 3


@pytest.mark.parametrize(
    ("free", "dependent"),
    [
        (v.U_FREE, v.U),
        (v.A_FREE, v.A_DEPENDENT),
        (v.V_FREE, v.V_DEPENDENT),
        (v.AV_FREE, v.AV_DEPENDENT),
        (v.UAV_FREE, v.UAV_DEPENDENT),
        (v.UAV_SWAPPED, v.M),
    ],
    ids=lambda variant: variant.name,
)
def test_a_context_setting_changes_no_parameter(free, dependent):
    assert shapes(free) == shapes(dependent)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (v.U_FREE, ""),
        (v.U, "u"),
        (v.A_FREE, ""),
        (v.A_DEPENDENT, "a"),
        (v.V_DEPENDENT, "v"),
        (v.AV_DEPENDENT, "av"),
        (v.UAV_FREE, ""),
        (v.UAV_SWAPPED, "av"),
        (v.M, "u"),
        (v.UAV_DEPENDENT, "uav"),
        (v.WITHOUT_TRANSFORMER, "u"),
        (v.BERT, ""),
        (v.FUSIONS["gmu"], "u"),
        (v.FUSIONS["mult"], "uav"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_earlier_turns_reach_a_turn_through_the_dependent_modalities_alone(variant, expected):
    config, features = changed_tiny(variant)
    conversation = with_features(np.random.default_rng(1), random_conversation(np.random.default_rng(0), 4), SIZES)
    (example,) = text_examples([conversation], config)
    taken = {name: conversation.features[name] for name, _ in features}
    reads_text = "u" in config.model.modalities
    example = dataclasses.replace(example, sequences=example.sequences if reads_text else (), features=taken)
    model = tiny_model(config, PackShape(((29, 4),) if reads_text else (), 16, features=features))
    pack, params = build_pack([example], model.shape), random_params(model)

    def last_turn(pack):
        return model.apply({"params": params}, pack, deterministic=True)[3]

    changed = {}
    if reads_text:
        # The words of every turn but the last, wherever they stand: in their own sequences and in its context.
        kept = (pack.sequence_ids_T == 3) & (pack.segment_ids_T == 0) | (pack.token_ids_T <= SEP)
        changed["u"] = pack.replace(token_ids_T=np.where(kept, pack.token_ids_T, 7))
    for name, array in pack.features_UxM.items():
        other = array + (np.arange(len(array)) < 3)[:, None].astype(np.float32)
        changed[name[0]] = pack.replace(features_UxM={**pack.features_UxM, name: other})
    found = [name for name, other in changed.items() if jnp.abs(last_turn(other) - last_turn(pack)).max() > 1e-6]
    assert "".join(found) == expected


def test_a_fusion_changes_nothing_but_the_fusion():
    above = ("fusion/", "discriminator/")
    below = {path: shape for path, shape in shapes(v.M).items() if not path.startswith(above)}
    found = {kind: shapes(variant) for kind, variant in v.FUSIONS.items()}
    for kind, parameters in found.items():
        assert below == {path: shape for path, shape in parameters.items() if not path.startswith(above)}, kind
    assert len({tuple(sorted(parameters.items())) for parameters in found.values()}) >= 6


def test_a_change_that_does_not_fit_is_one_line():
    with pytest.raises(InputError, match="config.model.heads: unknown setting"):
        grid.changed(Config(), {"model.heads": 3})
    with pytest.raises(InputError, match="config.model.context.utterance: expected one of"):
        grid.changed(Config(), {"model.context.utterance": "other"})


def test_on_meld_the_full_model_sees_no_faces():
    for name in ("table2", "table6", "short"):
        assert tables.table(name, "meld").rows[-1].variant.changes["model.modalities"] == "ua"
        assert tables.table(name, "iemocap").rows[-1].variant.changes["model.modalities"] == "uav"
