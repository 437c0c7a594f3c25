"""The terminal table."""

import numpy as np

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.data.readers import meld
from dtrm_jax.evaluation.terminal import format_metrics
from dtrm_jax.tasks import Classes

MELD = Classes(meld.LABELS)
LABELS = np.repeat(np.arange(7), [1256, 281, 50, 208, 402, 68, 345])


def test_the_table_line_for_line():
    predictions = np.where(LABELS == 4, 4, 0)  # so neutral's F1 is 2 * 1256 / (2610 - 402 + 1256)
    metrics = MELD.scores(LABELS, predictions, loss=1.23456)
    assert format_metrics(metrics, MELD).splitlines() == [
        "accuracy  weighted F1  macro F1    UAR    loss     n",
        "   63.52        50.30     24.65  28.57  1.2346  2610",
        "",
        "class     precision  recall      F1  support",
        "neutral       56.88  100.00   72.52     1256",
        "surprise       0.00    0.00    0.00      281",
        "fear           0.00    0.00    0.00       50",
        "sadness        0.00    0.00    0.00      208",
        "joy          100.00  100.00  100.00      402",
        "disgust        0.00    0.00    0.00       68",
        "anger          0.00    0.00    0.00      345",
    ]


def test_without_a_loss_there_is_no_such_column():
    metrics = MELD.scores(LABELS, LABELS)
    assert format_metrics(metrics, MELD).splitlines()[0].split() == "accuracy weighted F1 macro F1 UAR n".split()


def test_no_line_exceeds_the_terminal():
    task = Classes(LabelSpace(("short", "long" * 30)))
    lines = format_metrics(task.scores(LABELS % 2, LABELS % 2), task).splitlines()
    assert max(map(len, lines)) == 80
    assert lines[-2].startswith("short ")
    assert lines[-1].startswith("longlong")
    assert "…" in lines[-1]
    assert len(lines[-1]) == len(lines[-2]) == 80
