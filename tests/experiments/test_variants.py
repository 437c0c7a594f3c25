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
from dtrm_jax.experiments import baselines, grid, tables, tuning
from dtrm_jax.experiments import variants as v
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.models.dialogue_trm.fusions import FUSIONS
from tests.factories import (
    CLS,
    SEP,
    random_conversation,
    random_params,
    text_examples,
    tiny_config,
    tiny_model,
    with_features,
)

SIZES = {"acoustic": 5, "visual": 7}
ALL = {
    row.variant.name: row.variant
    for name in tables.NAMES
    if name not in (*baselines.NAMES, tuning.NAME)  # which have tests of their own
    for modalities in ("uav", "ua")
    for row in tables.table(name, modalities).rows
}
A_FREE, A_DEPENDENT, V_FREE, V_DEPENDENT = (v.in_context(one, other) for one in "av" for other in ("", one))


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
    return flax.traverse_util.flatten_dict(jax.tree.map(lambda x: x.shape, parameter_shapes(model)), sep="/")


def test_every_row_is_a_config_and_no_two_are_the_same():
    configs = [grid.changed(Config(), variant.changes) for variant in ALL.values()]
    # 12 of Table 4, 4 more of Table 3, every fusion but MGIF of Table 5, 2 more of the planted table; and without the
    # visual, which the planted table has a row of, 3 of Table 4 and the fusions of Table 5.
    fusions = len(FUSIONS) - 1
    assert len(configs) == 12 + 4 + fusions + 2 + 3 + fusions and fusions >= 8
    assert all(one != other for i, one in enumerate(configs) for other in configs[:i])


def test_a_row_is_the_model_that_it_is_called_after_whatever_the_config_has():
    for of in (tiny_config(model__architecture="c_lstm"), tiny_config(model__fusion__kind="gmu"), tiny_config()):
        of.train.seed = 3
        configs = {name: grid.changed(of, variant.changes) for name, variant in ALL.items()}
        assert {config.model.architecture for config in configs.values()} == {"dialogue_trm"}
        for name, config in configs.items():
            if len(config.model.modalities) > 1:
                own = next((kind for kind in FUSIONS if name.endswith(f"-{kind.replace('_', '-')}")), "mgif")
                assert config.model.fusion.kind == own, name
        assert {config.train.seed for config in configs.values()} == {3}


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
        (A_FREE, A_DEPENDENT),
        (V_FREE, V_DEPENDENT),
        *((v.in_context(both, ""), v.in_context(both, both)) for both in ("av", "ua", "uav")),
        (v.in_context("uav", "av"), v.M),
        (v.in_context("ua", "a"), v.full("ua")),
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
        (A_FREE, ""),
        (A_DEPENDENT, "a"),
        (V_DEPENDENT, "v"),
        (v.in_context("av", "av"), "av"),
        (v.in_context("uav", ""), ""),
        (v.in_context("uav", "av"), "av"),
        (v.M, "u"),
        (v.in_context("uav", "uav"), "uav"),
        (v.in_context("ua", ""), ""),
        (v.in_context("ua", "a"), "a"),
        (v.full("ua"), "u"),
        (v.in_context("ua", "ua"), "ua"),
        (v.WITHOUT_TRANSFORMER, "u"),
        (v.BERT, ""),
        (v.with_fusion("uav", "gmu"), "u"),
        (v.with_fusion("uav", "mult"), "uav"),
        (v.with_fusion("ua", "mult"), "ua"),
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

    @jax.jit
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


@pytest.mark.parametrize("modalities", ["uav", "ua"])
def test_a_fusion_changes_nothing_but_the_fusion(modalities):
    above = ("fusion/", "discriminator/")
    full = v.full(modalities)
    below = {path: shape for path, shape in shapes(full).items() if not path.startswith(above)}
    found = {kind: shapes(v.with_fusion(modalities, kind)) for kind in FUSIONS if kind != "mgif"}
    for kind, parameters in found.items():
        assert below == {path: shape for path, shape in parameters.items() if not path.startswith(above)}, kind
    assert len({tuple(sorted(parameters.items())) for parameters in found.values()}) >= 6


def test_a_change_that_does_not_fit_is_one_line():
    with pytest.raises(InputError, match="config.model.heads: unknown setting"):
        grid.changed(Config(), {"model.heads": 3})
    with pytest.raises(InputError, match="config.model.context.utterance: expected one of"):
        grid.changed(Config(), {"model.context.utterance": "other"})


NAMES_OF = {
    "table2": {"uav": "u uav", "ua": "u ua", "uv": "u uv", "u": "u", "av": "av-free"},
    "table3": {"av": "", "u": "bert u u-no-transformer u-no-segments u-no-separator"},
    "table4": {
        "uav": "u-free u a-free a-dep v-free v-dep av-free av-dep uav-free uav-swapped uav uav-dep",
        "ua": "u-free u a-free a-dep ua-free ua-swapped ua ua-dep",
        "uv": "u-free u v-free v-dep uv-free uv-swapped uv uv-dep",
        "u": "u-free u",
        "av": "a-free a-dep v-free v-dep av-free av-dep",
    },
    "table5": {
        "ua": "u ua-additive ua-concat ua-max ua-bilinear ua-gmu ua-mult ua ua-mgif-without-representation "
        "ua-mgif-without-prototype",
        "u": "",
        "av": "av-additive av-concat av-max av-bilinear av-gmu av-mult av-free av-mgif-without-representation "
        "av-mgif-without-prototype",
    },
    "table6": {"uav": "u uav", "ua": "u ua", "u": "u"},
    "short": {"ua": "u-free u ua", "u": "u-free u", "a": "a-free"},
    "modalities": {"ua": "u a-free ua", "uav": "u a-free v-free ua uv av-free uav"},
}


@pytest.mark.parametrize(
    ("name", "modalities"), [(name, modalities) for name, of in NAMES_OF.items() for modalities in of]
)
def test_a_table_has_the_rows_of_the_modalities_that_there_are(name, modalities):
    table = tables.table(name, modalities)
    names = [row.variant.name for row in table.rows]
    expected = NAMES_OF[name][modalities].split()
    assert names[: len(expected)] == expected
    # A fusion of one's own has a row of Table 5, below the paper's.
    assert len(names) == len(expected) or (name == "table5" and len(names) == 1 + len(FUSIONS))
    for row in table.rows:
        assert set(row.variant.changes["model.modalities"]) <= set(modalities)
    if table.rows:  # what the others are compared with is one of them
        assert any(row.variant == one for one in table.references for row in table.rows)


def test_a_number_of_the_paper_stands_beside_its_row_and_tells_of_other_modalities():
    def papers(name, modalities):
        rows = tables.table(name, modalities).rows
        return {
            row.variant.name: (row.paper["iemocap"].get("test.weighted_f1"), row.paper_modalities.get("iemocap"))
            for row in rows
            if row.paper.get("iemocap")
        }

    cells = papers("table4", "ua")
    assert cells["a-free"] == (44.9, "a") and cells["u"] == (68.1, "u")
    # The paper's rows have the visual modality, too.
    assert {name: cells[name] for name in cells if name.startswith("ua")} == {
        "ua-free": (58.3, "uav"),
        "ua-swapped": (57.1, "uav"),
        "ua": (69.7, "uav"),
        "ua-dep": (68.8, "uav"),
    }
    assert papers("table5", "ua")["ua-gmu"] == (68.8, "uav") and papers("table5", "av") == {}
    assert papers("table2", "av") == papers("modalities", "ua") == {}
    full = tables.table("table2", "ua").rows[-1]
    assert full.paper["meld"]["test.weighted_f1"] == 63.5 and full.paper_modalities["meld"] == "ua"
