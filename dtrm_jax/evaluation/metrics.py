"""Scores of a split over its labelled utterances: accuracy and F1 of classes, Pearson's r and MAE of real values."""

from typing import Any

import numpy as np

from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.errors import InputError

# The scores that a checkpoint can be selected by.
CLASS_METRICS = ("weighted_f1", "accuracy", "macro_f1")
VALUE_METRICS = ("pearson_r", "mae")

# Values whose spread is below this share of the largest are constant: float32 rounding is all that tells them apart.
_CONSTANT = 1e-6


def classification_metrics(
    labels: np.ndarray, outputs: np.ndarray, label_space: LabelSpace, loss: float | None = None
) -> dict[str, Any]:
    """Scores predicted emotions, by the conventions of conv-emotion, which the field's published numbers follow.

    Accuracy is the share of utterances predicted right (some papers call it weighted accuracy), and ``weighted_f1`` the
    mean of the classes' F1 weighted by their support, both over all utterances at once, never averaged over batches or
    conversations. ``macro_f1`` is the plain mean over *all* classes of the label space, so a class that the split does
    not contain counts as 0. Precision, recall and F1 are 0 where their denominator is 0. No class is left out: MELD's
    neutral counts.

    Args:
        labels: ``[n]`` integers, the true class of every scored utterance.
        outputs: ``[n]`` integers, the predicted classes, or ``[n, C]`` floats, a probability a class, of which the
            largest is the prediction (the first of equals).
        label_space: The C classes.
        loss: Mean loss of the scored utterances; reported as ``loss`` if given.

    Returns:
        The content of ``metrics.json``, of plain Python types, all scores fractions from 0 to 1: ``accuracy``,
        ``weighted_f1``, ``macro_f1``, ``loss`` (if given), ``n``, ``labels`` (names, in order), ``per_class`` (name ->
        ``precision``, ``recall``, ``f1``, ``support``) and ``confusion_matrix`` (counts; a row a true class, a column
        a predicted class, both in the order of ``labels``).

    Raises:
        InputError: There is no utterance to score, or a probability or the loss is not finite.
        ValueError: Shapes, types or ranges are not as above.
    """
    from sklearn import metrics as sk  # takes more than a second to import

    labels = _check_classes(labels, label_space, "label")
    predictions = _predictions(outputs, label_space)
    if len(labels) != len(predictions):
        raise ValueError(f"expected as many outputs as labels, found {len(predictions)} for {len(labels)}")
    if not len(labels):
        raise InputError("no labelled utterance to score")
    if loss is not None and not np.isfinite(loss):
        raise InputError(f"the loss is not finite but {loss}: training has diverged, or the weights are damaged")

    options = {"labels": range(len(label_space)), "zero_division": 0}
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, predictions, **options)
    per_class = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for name, p, r, f, s in zip(label_space.names, precision, recall, f1, support, strict=True)
    }
    return {
        "accuracy": float(sk.accuracy_score(labels, predictions)),
        "weighted_f1": float(sk.f1_score(labels, predictions, average="weighted", **options)),
        "macro_f1": float(sk.f1_score(labels, predictions, average="macro", **options)),
        **({} if loss is None else {"loss": float(loss)}),
        "n": len(labels),
        "labels": list(label_space.names),
        "per_class": per_class,
        "confusion_matrix": sk.confusion_matrix(labels, predictions, labels=options["labels"]).tolist(),
    }


def value_metrics(values: np.ndarray, outputs: np.ndarray, value_space: ValueSpace) -> dict[str, Any]:
    """Scores predicted real values, by the conventions of conv-emotion: over all utterances of the split at once.

    Pearson's r has no value where the predictions, or the annotations, are constant, or there are fewer than two. It
    is then reported as 0, the score of knowing nothing, with ``constant`` saying so; the mean over the targets counts
    that 0. A target that the split does not annotate is null and counts in no mean.

    Args:
        values: ``[n, V]``, the annotations; NaN where there is none.
        outputs: ``[n, V]``, the predictions.
        value_space: The V targets.

    Returns:
        The content of ``metrics.json``, of plain Python types: ``pearson_r`` and ``mae`` (means over the targets),
        ``loss`` (mean squared error of all values), ``n`` (utterances with a value), ``targets`` (names, in order) and
        ``per_target`` (name -> ``pearson_r``, ``mae``, ``n``, ``constant``: null, "prediction" or "annotation").

    Raises:
        InputError: There is no value to score, or a prediction is not finite.
        ValueError: Shapes are not as above.
    """
    values, outputs = np.asarray(values, np.float64), np.asarray(outputs, np.float64)
    if values.shape != outputs.shape or values.ndim != 2 or values.shape[1] != len(value_space):
        raise ValueError(f"expected [n, {len(value_space)}] values and outputs, found {values.shape}, {outputs.shape}")
    there = ~np.isnan(values)
    if not there.any():
        raise InputError("no annotated utterance to score")
    finite = np.isfinite(outputs).all(axis=1)
    if not finite.all():
        raise InputError(
            f"utterance {np.argmin(finite)}: the predictions are not finite: training has diverged, "
            "or the weights are damaged"
        )
    per_target = {
        name: _score_target(values[there[:, index], index], outputs[there[:, index], index])
        for index, name in enumerate(value_space.names)
    }
    scored = [scores for scores in per_target.values() if scores["n"]]
    return {
        **{name: float(np.mean([scores[name] for scores in scored])) for name in VALUE_METRICS},
        "loss": float(np.mean((values[there] - outputs[there]) ** 2)),
        "n": int(there.any(axis=1).sum()),
        "targets": list(value_space.names),
        "per_target": per_target,
    }


def _score_target(values: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
    from scipy import stats

    if not len(values):
        return {"pearson_r": None, "mae": None, "n": 0, "constant": None}
    constant = next((name for name, x in (("prediction", outputs), ("annotation", values)) if _is_constant(x)), None)
    r = 0.0 if constant else float(stats.pearsonr(values, outputs).statistic)
    return {"pearson_r": r, "mae": float(np.abs(values - outputs).mean()), "n": len(values), "constant": constant}


def _is_constant(x: np.ndarray) -> bool:
    return bool(np.ptp(x) <= _CONSTANT * np.abs(x).max())


def _predictions(outputs: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    outputs = np.asarray(outputs)
    if outputs.ndim != 2:
        return _check_classes(outputs, label_space, "prediction")
    if outputs.shape[1] != len(label_space):
        raise ValueError(f"expected {len(label_space)} probabilities an utterance, found {outputs.shape[1]}")
    finite = np.isfinite(outputs).all(axis=1)
    if not finite.all():
        raise InputError(
            f"utterance {np.argmin(finite)}: the probabilities are not finite: training has diverged, "
            "or the weights are damaged"
        )
    return outputs.argmax(axis=1)


def _check_classes(classes: np.ndarray, label_space: LabelSpace, what: str) -> np.ndarray:
    """Returns ``[n]`` class indices, after checking that they are."""
    classes = np.asarray(classes)
    if classes.ndim != 1:
        raise ValueError(f"expected one {what} an utterance, found an array of shape {classes.shape}")
    if classes.size and not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"expected an integer {what} an utterance, found {classes.dtype}")
    outside = (classes < 0) | (classes >= len(label_space))
    if outside.any():
        index = int(np.argmax(outside))
        raise ValueError(
            f"utterance {index}: expected a {what} from 0 to {len(label_space) - 1}, found {classes[index]}"
            + (" (leave out unlabelled turns)" if classes[index] == -1 else "")
        )
    return classes
