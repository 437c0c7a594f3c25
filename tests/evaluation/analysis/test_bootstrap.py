"""The vectorised bootstrap against a plain loop over the same samples."""

import numpy as np
import pytest

from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.evaluation.analysis.groups import labelled
from dtrm_jax.tasks import Classes, Targets, Values
from tests.predicted import LABELS, conversation, other_predictions, random_turns

RESAMPLES = 60
TASK, VALUES = Classes(LABELS, neutral="c"), Values(ValueSpace(("one", "two")))
CLASS_METRICS = [metric.name for metric in TASK.metrics]
VALUE_METRICS = [metric.name for metric in VALUES.metrics]


def scores_of(turns):
    metrics = TASK.scores(*TASK.arrays(turns))
    return np.array([metrics[name] for name in CLASS_METRICS])


def by_conversation(turns):
    names = dict.fromkeys(turn.conversation for turn in labelled(turns))
    return [[turn for turn in labelled(turns) if turn.conversation == name] for name in names]


def plain(turns, seed):
    """Scores ``[Bs, metrics]`` of the samples that the docstring describes, turn by turn."""
    whole = by_conversation(turns)
    drawn = np.random.default_rng(seed).integers(len(whole), size=(RESAMPLES, len(whole)))
    return np.array([scores_of([turn for index in row for turn in whole[index]]) for row in drawn])


@pytest.fixture(scope="module")
def first():
    return random_turns(0)


@pytest.fixture(scope="module")
def second(first):
    return other_predictions(first, seed=2)


def test_intervals_are_those_of_a_plain_loop(first):
    found = bootstrap.intervals(first, TASK, RESAMPLES, seed=5)
    low, high = np.quantile(plain(first, seed=5), [0.025, 0.975], axis=0)
    assert list(found["accuracy"]) == ["value", "low", "high"]
    for index, name in enumerate(CLASS_METRICS):
        expected = {"value": scores_of(labelled(first))[index], "low": low[index], "high": high[index]}
        assert found[name] == pytest.approx(expected)
        assert low[index] < expected["value"] < high[index]


def test_differences_are_those_of_a_plain_loop(first, second):
    found = bootstrap.differences(first, second[::-1], TASK, RESAMPLES, seed=5)  # their order does not matter
    samples = plain(second, seed=5) - plain(first, seed=5)
    for index, name in enumerate(CLASS_METRICS):
        one_side = min(sum(samples[:, index] <= 0), sum(samples[:, index] >= 0))
        low, high = np.quantile(samples[:, index], [0.025, 0.975])
        expected = {
            "difference": (scores_of(labelled(second)) - scores_of(labelled(first)))[index],
            "low": low,
            "high": high,
            "p_value": min(1, 2 * (one_side + 1) / (RESAMPLES + 1)),
        }
        assert found[name] == pytest.approx(expected)
        assert 0 < found[name]["p_value"] < 1


def test_the_other_way_round_is_the_opposite(first, second):
    there, back = bootstrap.differences(first, second, TASK), bootstrap.differences(second, first, TASK)
    for name in CLASS_METRICS:
        mirrored = {"difference": -back[name]["difference"], "low": -back[name]["high"], "high": -back[name]["low"]}
        assert there[name] == pytest.approx(mirrored | {"p_value": back[name]["p_value"]})


def test_the_same_predictions_do_not_differ(first):
    nothing = {"difference": 0, "low": 0, "high": 0, "p_value": 1}
    assert bootstrap.differences(first, first, TASK, RESAMPLES) == dict.fromkeys(CLASS_METRICS, nothing)


def test_a_difference_in_every_conversation_is_significant_and_a_chance_one_is_not():
    wrong = [turn for index in range(9) for turn in conversation(f"d{index}", "xyx", "abc", "bca")]
    right = [turn for index in range(9) for turn in conversation(f"d{index}", "xyx", "abc", "aba")]
    sure = bootstrap.differences(wrong, right, TASK, resamples=999)["accuracy"]
    assert sure == pytest.approx({"difference": 2 / 3, "low": 2 / 3, "high": 2 / 3, "p_value": 2 / 1000})
    mixed = wrong[:12] + right[12:], right[:12] + wrong[12:]  # better in 4 conversations, worse in 5
    assert bootstrap.differences(*mixed, TASK)["accuracy"]["p_value"] > 0.5


def test_conversations_are_drawn_whole():
    """Nine conversations, each all right or all wrong: only ninths can come out, whatever their number of turns."""
    turns = [turn for n in range(9) for turn in conversation(f"d{n}", "x" * 40, "a" * 40, ("a" if n < 6 else "b") * 40)]
    found = bootstrap.intervals(turns, TASK, resamples=4000)["accuracy"]
    # Binomial(9, 2/3): 3 or fewer with probability 0.042, 2 or fewer with 0.008; all nine with 0.026.
    assert found == {"value": pytest.approx(6 / 9), "low": pytest.approx(3 / 9), "high": pytest.approx(1)}


def test_seeds_and_pieces(first, monkeypatch):
    found = bootstrap.intervals(first, TASK, RESAMPLES)
    assert found == bootstrap.intervals(first, TASK, RESAMPLES)
    assert found["accuracy"] != bootstrap.intervals(first, TASK, RESAMPLES, seed=1)["accuracy"]
    monkeypatch.setattr(bootstrap, "_CHUNK", 7 * 11)  # 7 samples at a time
    assert found == bootstrap.intervals(first, TASK, RESAMPLES)


def test_turns_and_conversations_without_labels_change_nothing(first):
    assert any(turn.label is None for turn in first)
    assert bootstrap.intervals(labelled(first), TASK) == bootstrap.intervals(first, TASK)


def test_one_conversation_has_no_interval():
    one, other = conversation("d", "xyx", "abc", "abb"), conversation("d", "xyx", "abc", "abc")
    assert bootstrap.intervals(one, TASK)["accuracy"] == {"value": pytest.approx(2 / 3), "low": None, "high": None}
    found = bootstrap.differences(one, other, TASK)["accuracy"]
    assert found == {"difference": pytest.approx(1 / 3), "low": None, "high": None, "p_value": None}


def test_nothing_to_score():
    unlabelled = conversation("d", "xy", "--", "ab")
    with pytest.raises(InputError, match="no labelled utterance"):
        bootstrap.intervals(unlabelled, TASK)
    with pytest.raises(InputError, match="no labelled utterance"):
        bootstrap.differences(unlabelled, unlabelled, TASK)
    with pytest.raises(InputError, match="found in the first only"):
        bootstrap.differences(random_turns(0), unlabelled, TASK)


@pytest.mark.parametrize("classes", [2, 7])
def test_scores_of_confusion_matrices_are_those_of_the_project(classes):
    task = Classes(LabelSpace(tuple(map(str, range(classes)))), neutral="1")
    random = np.random.default_rng(0)
    true, predicted = random.integers(classes, size=(2, 3, 5, 31))
    true[0, 0], predicted[0, 0] = 1, 0  # nothing right, and classes that are not there
    counts = np.zeros((3, 5, classes, classes))
    for i, j in np.ndindex(3, 5):
        np.add.at(counts[i, j], (true[i, j], predicted[i, j]), 1)
    found = task.scores_of(counts)
    for i, j in np.ndindex(3, 5):
        expected = task.scores(true[i, j], predicted[i, j])
        for name in CLASS_METRICS:
            assert found[name][i, j] == pytest.approx(expected[name])


@pytest.fixture(scope="module")
def valued():
    """Conversation, annotations and the predictions of three runs; a value is missing here and there."""
    random = np.random.default_rng(3)
    conversation_N = np.repeat(np.arange(9), random.integers(2, 12, 9))
    values_NxV = random.normal(7, 2, (len(conversation_N), 2))
    runs_PrxNxV = values_NxV + random.normal(100, [[[1]], [[2]], [[3]]], (3, *values_NxV.shape))
    values_NxV[random.random(values_NxV.shape) < 0.2] = np.nan
    return conversation_N, values_NxV, runs_PrxNxV


def value_scores(values_NxV, run_NxV):
    metrics = VALUES.score(Targets(np.zeros(0), values_NxV), run_NxV)
    return np.array([metrics[name] for name in VALUE_METRICS])


def test_differences_of_real_values_are_those_of_a_plain_loop(valued):
    conversation_N, values_NxV, runs_PrxNxV = valued
    found = bootstrap.mean_differences(VALUES.statistics(*valued), 1, VALUES, RESAMPLES, seed=5)
    drawn = np.random.default_rng(5).integers(9, size=(RESAMPLES, 9))
    rows = [np.concatenate([np.flatnonzero(conversation_N == index) for index in sample]) for sample in drawn]
    random = np.random.default_rng([5, 1])
    random.integers(1, size=(RESAMPLES, 1))  # of the one first run
    later = random.integers(2, size=(RESAMPLES, 1))  # of the two others

    def difference(rows_N, runs=(0, 1)):
        first, *others = (value_scores(values_NxV[rows_N], run[rows_N]) for run in runs_PrxNxV)
        return np.mean([others[run] for run in runs], axis=0) - first

    samples = np.array([difference(one, runs) for one, runs in zip(rows, later, strict=True)])
    everything = difference(np.arange(len(values_NxV)))
    for index, name in enumerate(VALUE_METRICS):
        low, high = np.quantile(samples[:, index], [0.025, 0.975])
        assert found[name]["difference"] == pytest.approx(everything[index])
        assert (found[name]["low"], found[name]["high"]) == (pytest.approx(low), pytest.approx(high))
    assert found["pearson_r"]["high"] < 0


@pytest.mark.parametrize(("first", "later"), [(3, 3), (2, 5), (1, 4), (1, 1)])
def test_the_spread_of_seeds_is_that_of_their_means(first, later):
    """Every conversation is alike, so that nothing else varies: a run is right in so many of a thousand turns."""
    right = np.random.default_rng(4).integers(400, 600, first + later)
    runs = [[1] * count + [0] * (1000 - count) for count in right]
    statistics_JxPr = TASK.statistics(np.repeat([0, 1], 1000), np.ones(2000, int), np.array([run * 2 for run in runs]))
    found = bootstrap.mean_differences(statistics_JxPr, first, TASK)["accuracy"]
    before, after = right[:first] / 1000, right[first:] / 1000
    assert found["difference"] == pytest.approx(after.mean() - before.mean())
    of_means = [scores.var(ddof=1) / len(scores) for scores in (before, after) if len(scores) > 1]
    random = np.random.default_rng([0, 1])
    drawn = [
        after[random.integers(later, size=max(1, later - 1))].mean()
        - before[random.integers(first, size=max(1, first - 1))].mean()
        for _ in range(20_000)
    ]
    assert np.std(drawn) == pytest.approx(np.sqrt(sum(of_means)), rel=0.03, abs=1e-12), "as Rao and Wu have it"
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=2e-3)


def test_a_run_that_predicts_a_constant_has_no_correlation(valued):
    conversation_N, values_NxV, runs_PrxNxV = valued
    both_PrxNxV = np.concatenate([runs_PrxNxV[:1], np.full_like(runs_PrxNxV[:1], 1e6 / 3)])
    found = bootstrap.mean_differences(VALUES.statistics(conversation_N, values_NxV, both_PrxNxV), 1, VALUES, RESAMPLES)
    assert found["pearson_r"]["difference"] == pytest.approx(-value_scores(values_NxV, runs_PrxNxV[0])[0])
    with pytest.raises(InputError, match="no annotated utterance"):
        VALUES.statistics(conversation_N, values_NxV * np.nan, runs_PrxNxV)
