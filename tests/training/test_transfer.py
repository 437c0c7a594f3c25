"""Beginning with another run: what is taken, what starts anew, and that a resumed run does not need it."""

import dataclasses
import shutil

import flax.traverse_util
import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.data.features import Normalization
from dtrm_jax.errors import InputError
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.inference.trained import Trained
from dtrm_jax.models import ARCHITECTURES, build_model
from dtrm_jax.run_directory import Manifest, RunDirectory
from dtrm_jax.sharing.exporting import export
from dtrm_jax.sharing.model_card import Owner
from dtrm_jax.training import beginning, loop
from dtrm_jax.training.beginning import origin_of
from dtrm_jax.training.setup import initial_params, prepare
from dtrm_jax.training.transfer import output_axes, transfer
from tests.factories import random_params, tiny_config, tiny_encoder
from tests.own_model import BagOfWords
from tests.runs import assert_same_state, saved_state, tiny_run_config

SHAPE = PackShape(((29, 3),), 7, features=(("acoustic", 5), ("visual", 3)))
THERE = LabelSpace(("neutral", "joy", "anger"))


def _trained(config, labels=THERE, **sizes):
    encoder = tiny_encoder(config, **sizes) if config.model.reads_text else None
    manifest = Manifest(corpus="old", labels=labels, encoder=encoder, shape=SHAPE, total_steps=9)
    return Trained(
        name="source",
        config=config,
        manifest=manifest,
        tokenizer=None,
        normalization=Normalization({}, {}, bound=0.0),
        params=random_params(build_model(config, encoder, len(labels), SHAPE), seed=1),
        step=9,
    )


def _transferred(source, config, labels, **sizes):
    """Returns what was taken, the initial parameters, those after the transfer, and what was said."""
    encoder = tiny_encoder(config, **sizes) if config.model.reads_text else None
    model = build_model(config, encoder, len(labels), SHAPE)
    initial, said = random_params(model, seed=2), []
    found = transfer(
        initial,
        source,
        config=config,
        labels=labels,
        build=lambda outputs: build_model(config, encoder, outputs, SHAPE),
        say=said.append,
    )
    flat = flax.traverse_util.flatten_dict
    old, before, after = flat(source.params), flat(initial), flat(found)
    assert before.keys() == after.keys()
    taken = set()
    for path, array in after.items():
        same = path in old and old[path].shape == array.shape and np.array_equal(array, old[path])
        assert same or path[-2:-1] == ("output",) or np.array_equal(array, before[path]), path
        taken |= {path} if same else set()
    return taken, before, after, said


def _config(**settings):
    return tiny_config(train__init_from="runs/old", **settings)


def test_the_same_model_of_the_same_labels_is_taken_whole():
    source = _trained(_config())
    taken, _, after, said = _transferred(source, _config(), THERE)
    assert taken == after.keys()
    assert said[0] == "begins with the parameters of runs/old (old, step 9):"
    assert [line.split()[-1] for line in said[2:]] == ["0", "0", "0"], said


@pytest.mark.parametrize("labels", [("Joy", "NEUTRAL", "anger"), ("anger", "neutral")])
def test_outputs_are_taken_by_the_names_of_their_labels(labels):
    source = _trained(_config())
    _, _, after, said = _transferred(source, _config(), LabelSpace(labels))
    output = source.params["discriminator"]["output"]
    for place, label in enumerate(labels):
        old = THERE.names.index(label.lower())
        for name in ("kernel", "bias"):
            found = after["discriminator", "output", name][..., place]
            np.testing.assert_array_equal(found, output[name][..., old])
    assert [line.endswith(" 0") for line in said if "discriminator" in line] == [True]


def test_a_label_in_the_same_case_comes_first():
    source = _trained(_config(), LabelSpace(("Joy", "joy", "anger")))
    _, _, after, _ = _transferred(source, _config(), LabelSpace(("joy", "JOY", "Anger", "Joy")))
    expected = source.params["discriminator"]["output"]["bias"][np.array([1, 1, 2, 0])]
    np.testing.assert_array_equal(after["discriminator", "output", "bias"], expected)


def test_with_a_new_label_all_outputs_start_anew():
    source = _trained(_config())
    taken, before, after, said = _transferred(source, _config(), LabelSpace(("neutral", "sad", "anger", "mad")))
    assert after.keys() - taken == {("discriminator", "output", "kernel"), ("discriminator", "output", "bias")}
    for path in after.keys() - taken:
        np.testing.assert_array_equal(after[path], before[path])
    (line,) = [line for line in said if line.lstrip().startswith("discriminator")]
    width = before["discriminator", "hidden", "bias"].size
    assert line.split()[1:3] == [str(width * (width + 1)), str(4 * (width + 1))]
    assert line.endswith("labels that it did not have: sad, mad")


def test_outputs_for_real_values_are_not_those_of_classes():
    source = _trained(_config())
    taken, _, after, said = _transferred(source, _config(), ValueSpace(("joy", "anger", "neutral")))
    assert after.keys() - taken == {("discriminator", "output", "kernel"), ("discriminator", "output", "bias")}
    assert [line.endswith("other kinds of emotions") for line in said if "discriminator" in line] == [True]


def test_other_modalities_and_another_fusion():
    source = _trained(_config(model__modalities="uav", model__fusion__heads=2, model__fusion__layers=1))
    settings = {"model__fusion__heads": 2, "model__fusion__layers": 1}
    taken, _, after, said = _transferred(source, _config(model__modalities="ua", **settings), THERE)
    assert taken == after.keys(), "MGIF's gates are named after their modalities"
    assert said[-1].startswith("  left behind: ") and "visual 2,514" in said[-1] and "fusion 1,568" in said[-1]
    taken, _, after, said = _transferred(source, _config(model__modalities="u"), THERE)
    assert taken == after.keys() and "acoustic" in said[-1]
    concat = _trained(_config(model__modalities="ua", model__fusion__kind="concat"))
    taken, _, after, said = _transferred(concat, _config(model__modalities="uv", model__fusion__kind="concat"), THERE)
    assert {path[0] for path in after.keys() - taken} == {"visual", "fusion"}
    assert [line for line in said if "fusion" in line][0].endswith("joins uv here, ua there")
    taken, _, after, said = _transferred(source, _config(model__modalities="uav", model__fusion__kind="concat"), THERE)
    assert {path[0] for path in after.keys() - taken} == {"fusion"}
    assert [line for line in said if "fusion" in line][0].endswith("concat here, mgif there")


def test_other_settings_of_the_architecture():
    source = _trained(_config())
    taken, _, after, _ = _transferred(source, _config(model__intra_modal__layers=3), THERE)
    assert {path[:3] for path in after.keys() - taken} == {("intra_modal", "transformer", "layer_2")}
    config = _config(model__intra_modal__turn_distance="learned")
    taken, _, after, said = _transferred(source, config, THERE)
    assert after.keys() - taken == {("intra_modal", "turn_distance")}
    assert "not in that run: turn_distance" in "".join(said)
    taken, _, after, said = _transferred(source, _config(model__intra_modal__feed_forward=13), THERE)
    assert {path[3] for path in after.keys() - taken} == {"linear1", "linear2"}
    assert "other shapes: transformer/layer_0/linear1/bias is [13], was [11]" in "".join(said)
    taken, _, after, said = _transferred(source, _config(model__intra_modal__heads=7), THERE)
    assert {path[0] for path in after.keys() - taken} == {"intra_modal"}, "the same shapes, but other heads"
    assert "7 heads here, 2 there" in "".join(said)


def test_learned_distances_are_not_those_of_another_reach():
    learned = {"model__intra_modal__turn_distance": "learned"}
    source = _trained(_config(**learned, tokens__window=3))
    taken, _, after, said = _transferred(source, _config(**learned, tokens__window=2, tokens__future=1), THERE)
    assert after.keys() - taken == {("intra_modal", "turn_distance")}, "of the same shape"
    assert "2 earlier and 1 later turns here, 3 earlier and 0 later turns there" in "".join(said)


@pytest.mark.parametrize(
    ("there", "here", "anew", "why"),
    [
        ({"architecture": "sdt", "modalities": "av"}, {"sdt__heads": 4}, {"_to_"}, "4 heads here, 2 there"),
        (
            {"architecture": "bieru", "modalities": "av"},
            {"bieru__context": "global"},
            {"tensor", "linear"},
            "global con",
        ),
        ({"architecture": "c_lstm", "modalities": "ua"}, {"modalities": "u"}, {""}, "reads u here, ua there"),
        ({"architecture": "sdt", "modalities": "uav"}, {"modalities": "ua"}, {"joined_"}, "joins ua here, uav there"),
    ],
)
def test_parts_of_a_baseline_that_only_look_alike_start_anew(there, here, anew, why):
    small = {"sdt__width": 8, "sdt__heads": 2, "bieru__width": 6, "c_lstm__width": 6, "c_lstm__hidden": 6}
    first, second = (
        {f"model__{name}": value for name, value in one.items()} for one in (small | there, small | there | here)
    )
    taken, _, after, said = _transferred(_trained(_config(**first)), _config(**second), THERE)
    parts = {path[0] for path in after}
    expected = {part for part in parts for name in anew if name in part and not part.startswith("gate_")}
    assert {path[0] for path in after.keys() - taken} == expected - {"encoder"} and why in "".join(said), said
    taken, _, after, _ = _transferred(_trained(_config(**first)), _config(**first), THERE)
    assert taken == after.keys()


def test_the_embedding_of_segments_is_that_of_the_other_run(tmp_path):
    config = tiny_run_config(tmp_path / "cache")
    config.model.encoder.segment_embedding = False
    loop.train(config, str(tmp_path / "old"))
    config.model.encoder.segment_embedding, config.train.init_from = True, str(tmp_path / "old")
    loop.train(config, str(tmp_path / "new"))
    assert RunDirectory(tmp_path / "new").read_config().model.encoder.segment_embedding is False


def test_models_of_other_kinds_share_the_encoder_alone(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "other", ARCHITECTURES["dialogue_trm"])
    source = _trained(_config(model__architecture="other"))
    taken, _, _, said = _transferred(source, _config(), THERE)
    assert {path[0] for path in taken} == {"encoder"} and "dialogue_trm here, other there" in "".join(said)


def test_where_nothing_fits_it_is_said():
    with pytest.raises(
        InputError, match=r"init_from: nothing of runs/old fits this model \(other shapes: .* is \[12\], was \[14\]\)"
    ):
        source = _trained(_config(), LabelSpace(("x", "y")))
        _transferred(
            source,
            _config(),
            LabelSpace(("p", "q")),
            hidden_size=12,
            intermediate_size=17,
            vocab_size=60,
            max_positions=30,
        )


def test_the_output_arrays_are_found_in_any_model():
    config = _config()
    found = output_axes(lambda outputs: BagOfWords(shape=SHAPE, outputs=outputs, vocabulary=7, width=4), 4)
    assert found == {("output", "kernel"): 1, ("output", "bias"): 0}
    found = output_axes(lambda outputs: build_model(config, tiny_encoder(config), outputs, SHAPE), 14)
    assert found == {("discriminator", "output", "kernel"): 1, ("discriminator", "output", "bias"): 0}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def old(cache, tmp_path_factory, bag_of_words):
    """A run on conversations of its own."""
    workdir = tmp_path_factory.mktemp("old")
    config = tiny_run_config(cache)
    config.model.architecture, config.train.epochs = "bag_of_words", 1
    config.optimizer.learning_rate = config.optimizer.encoder_learning_rate = 0.1
    loop.train(config, str(workdir))
    return workdir


@pytest.fixture
def table(tmp_path):
    """Other conversations, of other words and labels."""
    folder = tmp_path / "table"
    folder.mkdir()
    for split in ("train", "dev"):
        rows = "".join(
            f"{number},{turn},{'AB'[turn % 2]},unheard of {turn},{('Joy', 'ANGER')[turn % 2]}\n"
            for number in range(6)
            for turn in range(4)
        )
        (folder / f"{split}.csv").write_text("conversation,turn,speaker,text,label\n" + rows)
    return folder


def _going_on(cache, old, table):
    config = tiny_run_config(cache)
    config.data.name, config.data.source = "table", str(table)
    config.model.architecture, config.train.init_from, config.train.epochs = "bag_of_words", str(old), 3
    config.model.encoder.hidden_size = 98  # that of the other run holds
    return config


def test_training_begins_with_the_parameters_encoder_and_tokenizer_of_the_other_run(
    cache, old, table, tmp_path, capsys
):
    config = _going_on(cache, old, table)
    experiment = prepare(config, RunDirectory(tmp_path / "run"))
    source = read_trained(old)
    params = initial_params(experiment)
    assert experiment.tokenizer.tokenizer.to_str() == source.tokenizer.tokenizer.to_str()
    np.testing.assert_array_equal(params["encoder"]["embedding"], source.params["encoder"]["embedding"])
    joy, anger = (source.manifest.labels.names.index(name) for name in ("joy", "anger"))
    np.testing.assert_array_equal(params["output"]["kernel"], source.params["output"]["kernel"][:, [anger, joy]])
    assert "begins with the parameters of" in capsys.readouterr().out
    assert experiment.config.model.encoder.hidden_size == source.config.model.encoder.hidden_size == 16


def test_a_resumed_run_does_not_need_the_other_one(cache, old, table, tmp_path, monkeypatch):
    config = _going_on(cache, old, table)
    loop.train(config, str(tmp_path / "whole"))
    moved = shutil.copytree(old, tmp_path / "copy")
    config.train.init_from = str(moved)
    with monkeypatch.context() as patch:
        saves = loop.Checkpoints.save

        def save(self, step, *rest):
            saves(self, step, *rest)
            self.wait()
            if step == 2:
                raise KeyboardInterrupt

        patch.setattr(loop.Checkpoints, "save", save)
        with pytest.raises(KeyboardInterrupt):
            loop.train(config, str(tmp_path / "run"))
    shutil.rmtree(moved)
    loop.train(config, str(tmp_path / "run"))
    assert_same_state(saved_state(tmp_path / "run"), saved_state(tmp_path / "whole"))
    config.train.init_from = str(old)  # where the same parameters lie
    loop.train(config, str(tmp_path / "run"))
    run = RunDirectory(tmp_path / "run")
    origin = run.read_manifest().init_from
    assert origin == origin_of(read_trained(old))
    assert (origin.corpus, origin.step) == ("planted", saved_state(old)[0]) and origin.data["conversations"]
    assert run.read_config().train.init_from == str(old)


def test_a_run_that_was_begun_otherwise_is_refused(cache, old, table, tmp_path):
    config = _going_on(cache, old, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Trainer, "run", lambda self: None)
        loop.train(config, str(tmp_path / "run"))
    other = _going_on(cache, "", table)
    with pytest.raises(InputError, match=r"train\.init_from was '.*', is ''"):
        loop.train(other, str(tmp_path / "run"))
    trained = read_trained(old)
    changed = dataclasses.replace(trained, params={"w": np.ones(3, np.float32)}, step=7)
    other.train.init_from = str(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginning, "read_trained", lambda path: changed)
        with pytest.raises(InputError, match=r"run\.json: the run begun here differs: init_from\.params was"):
            loop.train(other, str(tmp_path / "run"))
        # There is no checkpoint yet, so that the parameters are read again.
        with pytest.raises(
            InputError, match=r"expected the parameters \w{16} of step \d+, with which this run was begun"
        ):
            loop.train(config, str(tmp_path / "run"))


def test_a_run_without_text_is_not_resumed_with_text(cache, old, tmp_path):
    config = tiny_run_config(cache)
    config.model.modalities, config.train.init_from, config.train.epochs = "a", str(old), 1
    config.model.context.acoustic = "dependent"
    run = RunDirectory(tmp_path / "run")
    experiment = prepare(config, run)
    run.begin(experiment.config, experiment.manifest, experiment.tokenizer, experiment.normalization)
    assert prepare(config, run).manifest.encoder is None
    config.model.modalities = "ua"
    message = r"run\.json: the run begun here reads no text: model\.modalities was 'a', is 'ua'; use another --workdir"
    with pytest.raises(InputError, match=message):
        prepare(config, run)


def test_an_exported_folder_is_the_run_that_it_was_made_of(old, tmp_path):
    export(RunDirectory(old), tmp_path / "shared", owner=Owner())
    shared, whole = (origin_of(read_trained(path)) for path in (tmp_path / "shared", old))
    assert dataclasses.replace(shared, name=whole.name) == whole


def test_what_cannot_be_begun_with_is_one_line(cache, old, table, tmp_path):
    config = _going_on(cache, old, table)
    config.tokens.max_length = 49
    message = f"config.tokens.max_length: expected at most 48, the positions of the encoder of {old}, found 49"
    with pytest.raises(InputError, match=message):
        prepare(config)
    config.train.init_from = str(tmp_path / "none")
    with pytest.raises(InputError, match="none/config.json: expected a run directory"):
        prepare(config)


def test_what_a_generative_model_shares_is_taken():
    settings = {"model__tl_erc__width": 6, "model__tl_erc__embedding": 4}
    generative = {"model__architecture": "hred", "data__labels": "none", "train__select_last": True}
    source = _trained(_config(**generative, **settings), LabelSpace(("none",)))
    taken, _, after, said = _transferred(source, _config(model__architecture="tl_erc", **settings), THERE)
    assert {path[0] for path in taken} == {"encoder", "context", "to_decoder"}
    assert {path[0] for path in after.keys() - taken} == {"output"}
    assert said[-1].startswith("  left behind: decoder")
