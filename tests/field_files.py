"""Fabricated files in exactly the layouts that the field publishes, small and learnable.

They are written as Python 2 wrote them: protocol 2, byte strings, NumPy's old module names.
"""

import dataclasses
import io
import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = ("utterance", "utterance2", "utterance3", "utterance4")


class _Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's str, which is what the published files hold."""

    dispatch = dict(pickle._Pickler.dispatch)

    def _save_string(self, value: str | bytes) -> None:
        raw = value.encode("latin-1") if isinstance(value, str) else value
        short = len(raw) < 256
        self.write(b"U" + bytes([len(raw)]) if short else b"T" + struct.pack("<i", len(raw)))
        self.write(raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_string


def dump(path: Path, value: Any) -> Path:
    """Writes a Python 2 pickle."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(value)
    path.write_bytes(buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    return path


@dataclasses.dataclass(frozen=True)
class Made:
    """A fabricated corpus; the dicts are by conversation id, with one value per turn."""

    splits: dict[str, list]
    speakers: dict[Any, list]
    labels: dict[Any, list]
    sentences: dict[Any, list[str]]
    features: dict[str, dict[Any, list[np.ndarray]]]


def make(
    splits: Mapping[str, Sequence],
    *,
    classes: int = 6,
    sizes: Mapping[str, int] | None = None,
    speakers: Sequence = ("M", "F"),
    seed: int = 0,
    turns: Callable[[np.random.Generator], int] = lambda random: int(random.integers(1, 7)),
) -> Made:
    """Fabricates conversations whose features show the label: a prototype of the class and noise.

    Args:
        splits: Split -> conversation ids.
        classes: Labels from 0 to below it; 0 for real values, which the features' first dimension shows.
        sizes: Feature -> dimensions.
        speakers: What a turn's speaker may be.
        seed: Of everything.
        turns: Draws the length of a conversation.
    """
    # Two streams, so that the labels do not depend on the features.
    random, noise = (np.random.default_rng((seed, stream)) for stream in range(2))
    sizes = sizes or {"utterance": 7, "acoustic": 5, "visual": 3}
    prototypes = {name: 3 * noise.normal(size=(max(classes, 1), size)) for name, size in sizes.items()}
    made = Made({split: list(ids) for split, ids in splits.items()}, {}, {}, {}, {name: {} for name in sizes})
    for id in (id for ids in splits.values() for id in ids):
        count = turns(random)
        made.speakers[id] = [speakers[int(random.integers(len(speakers)))] for _ in range(count)]
        labels = random.integers(classes, size=count).tolist() if classes else random.uniform(-1, 1, count).tolist()
        made.labels[id] = labels
        made.sentences[id] = [
            f"word{label if classes else label > 0} said {turn}." for turn, label in enumerate(labels)
        ]
        for name, size in sizes.items():
            shown = prototypes[name][labels] if classes else np.outer(labels, prototypes[name][0])
            made.features[name][id] = list((shown + noise.normal(size=(count, size))).astype(np.float32))
    return made


def _ids(made: Made) -> dict:
    return {id: [f"{id}_{turn}" for turn in range(len(labels))] for id, labels in made.labels.items()}


def iemocap_features(path: Path, made: Made) -> Path:
    """``IEMOCAP_features_raw.pkl``, ``IEMOCAP_features.pkl`` and ``AVEC_features_*.pkl``: 9 fields."""
    f, train, test = made.features, made.splits["train"], made.splits["test"]
    fields = (_ids(made), made.speakers, made.labels, f["utterance"], f["acoustic"], f["visual"], made.sentences)
    return dump(path, (*fields, set(train), test))


def meld_features_raw(path: Path, made: Made) -> Path:
    """``MELD_features_raw.pkl``: 9 fields, no faces, the sentiment last."""
    f, train, test = made.features, made.splits["train"], made.splits["test"]
    fields = (_ids(made), made.speakers, made.labels, f["utterance"], f["acoustic"], made.sentences, train, test)
    return dump(path, (*fields, made.labels))


def meld_features_raw1(path: Path, made: Made) -> Path:
    """``MELD_features_raw1.pkl``: 10 fields."""
    f, train, test = made.features, made.splits["train"], made.splits["test"]
    fields = (_ids(made), made.speakers, made.labels, f["utterance"], f["acoustic"], f["visual"], made.sentences)
    return dump(path, (*fields, train, test, made.labels))


def sdt_features(path: Path, made: Made, trailing: bool) -> Path:
    """``iemocap_multimodal_features.pkl`` (12 fields) or ``meld_multimodal_features.pkl`` (13)."""
    f, train, test = made.features, made.splits["train"], made.splits["test"]
    fields = (_ids(made), made.speakers, made.labels, *(f[name] for name in LAYERS), f["acoustic"], f["visual"])
    return dump(path, (*fields, made.sentences, train, test, *([None] if trailing else [])))


def cosmic(path: Path, made: Made, meld: bool = False, roberta: bool = False) -> Path:
    """``iemocap.pkl`` (6 fields), ``meld.pkl`` (7), ``*_features_roberta.pkl`` (10 and 11): test before valid."""
    fields = [made.speakers, made.labels, *([made.labels] if meld else [])]
    fields += [made.features[name] for name in LAYERS] if roberta else []
    splits = [made.splits[split] for split in ("train", "test", "dev")]
    content = [*fields, made.sentences, *splits]
    if roberta:
        return dump(path, content)
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


def meld_vectors(path: Path, made: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """``audio_embeddings_feature_selection_emotion.pkl`` and the like: [train, val, test] of ``dia_utt`` -> vector."""
    return dump(path, [dict(made[split]) for split in ("train", "dev", "test")])
