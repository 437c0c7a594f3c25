"""Pre-extracted features: standardised with the training split's statistics, which are kept with the run.

A feature that lies further from the mean than ``config.data.feature_bound`` deviations is taken as that far, so that
one wrongly cut clip outweighs nothing. Where no value lies so far out, nothing is other than without a bound.
"""

import dataclasses
import heapq
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dtrm_jax import npz_file
from dtrm_jax.conversation import Conversation
from dtrm_jax.data.outliers import without_outliers
from dtrm_jax.errors import InputError
from dtrm_jax.replacing import naming

_LARGEST = 1e15  # of a standardised feature, whose square the model computes in single precision
_BOUND = "bound"  # in the file
_SHOWN = 3  # turns that are named
_SMALLEST_STD = 1e-6  # of a dimension that carries anything, relative to the size of its mean


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Statistics of the training split.

    Attributes:
        mean: Modality -> float32 ``[M]``.
        std: Modality -> float32 ``[M]``, 1 in dimensions that are constant.
        bound: How many deviations from the mean a feature may lie; 0 for any number of them.
    """

    mean: dict[str, np.ndarray]
    std: dict[str, np.ndarray]
    bound: float = 0.0

    @classmethod
    def fit(
        cls, conversations: Sequence[Conversation], modalities: Iterable[str], bound: float = 0.0
    ) -> "Normalization":
        """Measures mean and standard deviation over all turns that have the modality.

        Args:
            conversations: The training split.
            modalities: Those to measure.
            bound: ``config.data.feature_bound``; values that are far out count as that far from the middle. 0 for none.

        Raises:
            InputError: No turn has it.
        """
        mean, std = {}, {}
        for name in modalities:
            matrix = np.concatenate([conversation.features[name] for conversation in conversations]).astype(np.float64)
            matrix = matrix[present_rows(matrix)]
            if not len(matrix):
                raise InputError(f"{name} features: expected turns that have them in the training split, found none")
            matrix = without_outliers(matrix, bound) if bound else matrix
            center, spread = matrix.mean(axis=0), matrix.std(axis=0)
            constant = spread <= _SMALLEST_STD * np.maximum(np.abs(center), np.finfo(np.float32).tiny)
            mean[name] = center.astype(np.float32)
            std[name] = np.where(constant, 1.0, spread).astype(np.float32)
        return cls(mean, std, bound)

    def apply(self, conversation: Conversation) -> dict[str, np.ndarray]:
        """Returns the conversation's standardised features, float32 ``[L, M]``; absent rows stay NaN.

        Raises:
            InputError: The conversation has other features than the training split had, or, without a bound, one that
                is too far from them to be computed with.
        """
        result = {}
        for name in self.mean:
            result[name] = self._standardised(conversation, name)
            if self.bound:
                np.clip(result[name], -self.bound, self.bound, out=result[name])
            self._check(conversation, name, result[name])
        return result

    def describe_far(self, splits: Mapping[str, Sequence[Conversation]]) -> list[str]:
        """Returns a line for each modality of which turns have values beyond the bound, with their number.

        Args:
            splits: Name -> conversations with these features.

        Raises:
            InputError: As ``apply``.
        """
        if not self.bound:
            return []
        return [line for name in self.mean if (line := self._describe_far(name, splits))]

    def _describe_far(self, name: str, splits: Mapping[str, Sequence[Conversation]]) -> str:
        counts, found = [], []
        for split, conversations in splits.items():
            far = there = 0
            for conversation in conversations:
                distance_LxM = np.abs(self._standardised(conversation, name))
                far_L = (distance_LxM > self.bound).any(axis=1)
                far, there = far + int(far_L.sum()), there + int(present_rows(distance_LxM).sum())
                for turn in np.flatnonzero(far_L):
                    column = int(distance_LxM[turn].argmax())
                    value, distance = conversation.features[name][turn, column], float(distance_LxM[turn, column])
                    place = f"turn {conversation.turns[turn].id} of conversation {conversation.id} in {split}"
                    found.append((distance, f"{place} (feature {column + 1} is {value:g}, {distance:.3g} deviations)"))
            counts += [f"{far} of {there} turns of {split}"] if far else []
        if not found:
            return ""
        farthest = [where for _, where in heapq.nlargest(_SHOWN, found, key=lambda one: one[0])]
        return (
            f"{name} features beyond {self.bound:g} standard deviations (config.data.feature_bound) are taken as that "
            f"far: {', '.join(counts)}; {'the farthest: ' if len(found) > _SHOWN else ''}{', '.join(farthest)}"
        )

    def _standardised(self, conversation: Conversation, name: str) -> np.ndarray:
        """Returns a modality's features as they are measured by the training split, without a bound."""
        mean, found = self.mean[name], conversation.features.get(name)
        if found is None or found.shape[1] != len(mean):
            size = "none" if found is None else f"{found.shape[1]}"
            raise InputError(
                f"conversation {conversation.id}: expected {len(mean)} {name} features per turn, found {size}"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # what is then too large is moved, or refused
            return (found - mean) / self.std[name]

    def _check(self, conversation: Conversation, name: str, standardised: np.ndarray) -> None:
        found = conversation.features[name]
        wrong = ~np.isnan(found) & ~(np.abs(standardised) <= _LARGEST)
        if wrong.any():
            turn, column = (int(index) for index in np.argwhere(wrong)[0])
            mean, std = self.mean[name][column], self.std[name][column]
            raise InputError(
                f"conversation {conversation.id}, turn {conversation.turns[turn].id}: {name} feature {column + 1} is "
                f"{found[turn, column]:g}, too far from the training split's mean {mean:g} (standard deviation {std:g})"
            )

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """``(modality, M)`` pairs, as ``PackShape.features``."""
        return tuple((name, len(mean)) for name, mean in self.mean.items())

    def save(self, path: str | os.PathLike) -> None:
        """Writes an ``.npz`` file without pickled objects."""
        kinds = (("mean", self.mean), ("std", self.std))
        arrays = {f"{name}/{kind}": values[name] for kind, values in kinds for name in values}
        if self.bound:  # without it, the file is that of older versions
            arrays[_BOUND] = np.float32([self.bound])
        with naming(path):
            np.savez(
                path, **arrays
            )  # of floats, which are never pickled; NumPy before 2.1 takes any keyword for an array

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Normalization":
        """Reads what ``save`` wrote.

        Raises:
            InputError: The file is missing or damaged.
        """
        kinds: dict[str, dict[str, np.ndarray]] = {"mean": {}, "std": {}}
        arrays = npz_file.read(path, _check_statistics)
        bound = float(arrays.pop(_BOUND, [0])[0])
        for key, array in arrays.items():
            name, _, kind = key.rpartition("/")
            kinds[kind][name] = array
        whole = {name: array.shape for name, array in kinds["mean"].items()}
        good = all(np.isfinite(mean).all() for mean in kinds["mean"].values())
        good = good and 0 <= bound < np.inf
        good = good and all(np.isfinite(std).all() and (std > 0).all() for std in kinds["std"].values())
        if not good or whole != {name: array.shape for name, array in kinds["std"].items()}:
            raise InputError(f"{path}: expected a mean and a positive standard deviation of every feature")
        return cls(**kinds, bound=bound)


def _check_statistics(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    kind = name.rpartition("/")[2]
    known = shape == (1,) if name == _BOUND else kind in ("mean", "std") and len(shape) == 1
    if not known or dtype != np.float32:
        raise ValueError(f"expected the mean or std of features in float32, found {dtype} {shape}")


def present_rows(matrix: np.ndarray) -> np.ndarray:
    """Returns bool ``[L]``: which turns have the feature of a ``[L, M]`` matrix."""
    return ~np.isnan(matrix[:, 0])
