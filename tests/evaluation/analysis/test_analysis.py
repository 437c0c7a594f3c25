"""``analysis.json`` and the command that prints it."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.evaluation.analysis.__main__ import main
from dtrm_jax.evaluation.analysis.analyse import analyse, compare
from dtrm_jax.evaluation.analysis.calibration import calibration
from dtrm_jax.evaluation.analysis.groups import shifts, short_utterances
from dtrm_jax.evaluation.analysis.paired import rectified_cases
from dtrm_jax.evaluation.analysis.terminal import format_analysis, format_comparison
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.tasks import Classes, ClassTurn
from tests.predicted import LABELS, TASK, conversation, other_predictions, random_turns
from tests.runs import ROOT, environment


def write(path, turns, labels=LABELS):
    """Writes the rows as an evaluation does."""
    conversations, probabilities = [], []
    for name in dict.fromkeys(turn.conversation for turn in turns):
        rows = [turn for turn in turns if turn.conversation == name]
        spoken = tuple(Turn(row.turn, row.speaker, row.text, label=row.label) for row in rows)
        conversations.append(Conversation(name, spoken))
        probabilities.append(np.asarray([row.probabilities for row in rows]))
    predictions.write(path, conversations, probabilities, Classes(labels))
    return str(path)


def test_the_analysis_is_its_parts_in_plain_json():
    turns = random_turns(0)
    analysis = analyse(turns, TASK)
    assert analysis == {
        "n": sum(turn.label is not None for turn in turns),
        "conversations": 12,
        "shifts": shifts(turns, TASK),
        "short": short_utterances(turns, TASK),
        "intervals": {"level": 0.95, "resamples": 10_000, "seed": 0, **bootstrap.intervals(turns, TASK)},
        "calibration": calibration(turns, TASK),
    }
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis


def test_the_comparison_is_its_parts_in_plain_json():
    first = random_turns(0)
    second = other_predictions(first, seed=1)
    comparison = compare(first, second[::-1], TASK)
    assert comparison == {
        "n": sum(turn.label is not None for turn in first),
        "differences": {"level": 0.95, "resamples": 10_000, "seed": 0, **bootstrap.differences(first, second, TASK)},
        "shifts": {"first": shifts(first, TASK), "second": shifts(second, TASK)},
        "cases": rectified_cases(first, second, TASK),
    }
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison


def test_the_analysis_in_print():
    turns = conversation("d", "xyx", "abb", "aba", ("Yeah.", "Oh.", "Yeah!")) + conversation("e", "xy", "a-", "ac")
    assert format_analysis(analyse(turns, TASK), TASK).splitlines() == [
        "4 labelled turns of 2 conversations",
        "",
        "emotion shift  accuracy  weighted F1  n  per conversation",
        "all               75.00        73.33  4               2.0",
        "Intra-ES           0.00         0.00  1               0.5",
        "Inter-ES         100.00       100.00  1               0.5",
        "neither          100.00       100.00  2               1.0",
        "Intra-ES: own emotion changed; Inter-ES: unlike the turn before",
        "",
        "weighted F1 73.33, 95 % interval over conversations 66.67 to 100.00",
        "accuracy 75.00, 95 % interval over conversations 66.67 to 100.00",
        "macro F1 48.89, 95 % interval over conversations 33.33 to 48.89",
        "UAR 75.00, 95 % interval over conversations 75.00 to 100.00",
        "",
        "short text      accuracy  weighted F1  n",
        "(any one word)     66.67        66.67  3",
        "yeah               50.00        33.33  2",
        "",
        "expected calibration error 5.00, negative log-likelihood 0.7430",
        "",
        "confidence       mean  accuracy  n",
        "73.33 to 80.00  80.00     75.00  4",
    ]


def test_the_comparison_in_print():
    first = conversation("d", "xyx", "abb", "aba") + conversation("e", "xyz", "a-a", "bcb")
    second = conversation("d", "xyx", "abb", "abb") + conversation("e", "xyz", "a-a", "aac")
    assert format_comparison(compare(first, second, TASK), TASK).splitlines() == [
        "B - A        difference  95 % interval over conversations       p",
        "weighted F1      +48.00                  +33.33 to +66.67  0.0002",
        "accuracy         +40.00                  +33.33 to +50.00  0.0002",
        "macro F1         +33.33                  +22.22 to +33.33  0.0002",
        "UAR              +41.67                  +25.00 to +50.00  0.0002",
        "",
        "emotion shift  accuracy A       B  weighted F1 A       B  n  per conversation",
        "all                 40.00   80.00          40.00   88.00  5               2.5",
        "Intra-ES             0.00  100.00           0.00  100.00  1               0.5",
        "Inter-ES           100.00  100.00         100.00  100.00  1               0.5",
        "neither             33.33   66.67          50.00   80.00  3               1.5",
        "Intra-ES: own emotion changed; Inter-ES: unlike the turn before",
        "",
        "A wrong, B right  2",
        "  a taken for b   1",
        "  b taken for a   1",
        "",
        "A right, B wrong  0",
    ]


def test_no_line_exceeds_the_terminal():
    names = ["long" * 30, "b" * 40, "c"]
    turns = conversation("d", "xyx", "abb", "aba", ("w" * 200, "w" * 200, "no"))
    first = [ClassTurn(**_renamed(turn, names)) for turn in turns]
    second = [ClassTurn(**_renamed(turn, names)) for turn in other_predictions(turns, 0, changed=1)]
    task = Classes(LabelSpace(tuple(names)))
    lines = format_analysis(analyse(first, task), task).splitlines()
    lines += format_comparison(compare(first, second, task), task).splitlines()
    assert max(map(len, lines)) <= 80


def _renamed(turn, names):
    by_letter = dict(zip(LABELS.names, names, strict=True))
    fields = {name: getattr(turn, name) for name in ("conversation", "turn", "speaker", "text", "probabilities")}
    return fields | {"label": by_letter[turn.label], "prediction": by_letter[turn.prediction]}


def test_the_command_needs_nothing_but_the_files(tmp_path):
    first = random_turns(0)
    paths = [write(tmp_path / "a.csv", first), write(tmp_path / "b.csv", other_predictions(first, 1))]
    for given, expected in ((paths[:1], "Intra-ES"), (paths, "A wrong, B right")):
        command = [sys.executable, "-m", "dtrm_jax.evaluation.analysis", *given]
        result = subprocess.run(
            command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=300, check=False
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert expected in result.stdout and all(path in result.stdout for path in given)


def test_what_cannot_be_analysed_is_one_line_and_status_2(tmp_path, capsys):
    first = random_turns(0)
    good, fewer = write(tmp_path / "a.csv", first), write(tmp_path / "b.csv", first[1:])
    unlabelled = write(tmp_path / "u.csv", conversation("d", "xy", "--", "ab"))
    other_classes = write(tmp_path / "c.csv", conversation("d", "xy", "--", "ab"), LabelSpace(("a", "b", "d")))
    for arguments, message in (
        ([str(tmp_path / "no.csv")], "no.csv: cannot be read: No such file or directory"),
        ([unlabelled], f"{unlabelled}: no labelled utterance to score"),
        ([good, fewer], f"{good}, {fewer}: conversation d0, turn 0: expected in both predictions"),
        ([good, other_classes], f"{good}, {other_classes}: expected the same classes, found a, b, c and a, b, d"),
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
        assert message in captured.err


def test_turns_of_context_that_only_one_file_has_are_no_obstacle():
    few = [turn for turn in random_turns(0) if turn.label is not None]
    context = dataclasses.replace(few[0], turn="between", label=None)
    second = other_predictions(few, seed=1)
    expected = compare(few, second, TASK)
    assert compare(few, [*second, context], TASK) == expected
    assert compare([context, *few], second, TASK) == expected
    assert expected["n"] == len(few)


def test_a_file_of_other_turns_is_refused():
    with pytest.raises(InputError, match="found in the first only"):
        compare(random_turns(0), conversation("d0", "x", "a", "a"), TASK)
