"""Pre-extracted features: standardised with the training split's statistics, which are kept with the run."""

import dataclasses
import os
from collections.abc import Iterable, Sequence

import numpy as np

from dtrm_jax import npz_file
from dtrm_jax.conversation import Conversation
from dtrm_jax.errors import InputError
from dtrm_jax.replacing import naming

_LARGEST = 1e15  # of a standardised feature, whose square the model computes in single precision
_SMALLEST_STD = 1e-6  # of a dimension that carries anything, relative to the size of its mean


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Statistics of the training split.

    Attributes:
        mean: Modality -> float32 ``[M]``.
        std: Modality -> float32 ``[M]``, 1 in dimensions that are constant.
    """

    mean: dict[str, np.ndarray]
    std: dict[str, np.ndarray]

    @classmethod
    def fit(cls, conversations: Sequence[Conversation], modalities: Iterable[str]) -> "Normalization":
        """Measures mean and standard deviation over all turns that have the modality.

        Raises:
            InputError: No turn has it.
        """
        mean, std = {}, {}
        for name in modalities:
            matrix = np.concatenate([conversation.features[name] for conversation in conversations]).astype(np.float64)
            matrix = matrix[present_rows(matrix)]
            if not len(matrix):
                raise InputError(f"{name} features: expected turns that have them in the training split, found none")
            center, spread = matrix.mean(axis=0), matrix.std(axis=0)
            constant = spread <= _SMALLEST_STD * np.maximum(np.abs(center), np.finfo(np.float32).tiny)
            mean[name] = center.astype(np.float32)
            std[name] = np.where(constant, 1.0, spread).astype(np.float32)
        return cls(mean, std)

    def apply(self, conversation: Conversation) -> dict[str, np.ndarray]:
        """Returns the conversation's standardised features, float32 ``[L, M]``; absent rows stay NaN.

        Raises:
            InputError: The conversation has other features than the training split had, or one that is too far from
                them to be computed with.
        """
        result = {}
        for name, mean in self.mean.items():
            found = conversation.features.get(name)
            if found is None or found.shape[1] != len(mean):
                size = "none" if found is None else f"{found.shape[1]}"
                raise InputError(
                    f"conversation {conversation.id}: expected {len(mean)} {name} features per turn, found {size}"
                )
            with np.errstate(over="ignore", invalid="ignore"):  # what is then too large is refused
                result[name] = (found - mean) / self.std[name]
            self._check(conversation, name, result[name])
        return result

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
        arrays = {f"{name}/{kind}": values[name] for kind, values in self._kinds() for name in values}
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
        for key, array in npz_file.read(path, _check_statistics).items():
            name, _, kind = key.rpartition("/")
            kinds[kind][name] = array
        whole = {name: array.shape for name, array in kinds["mean"].items()}
        good = all(np.isfinite(mean).all() for mean in kinds["mean"].values())
        good = good and all(np.isfinite(std).all() and (std > 0).all() for std in kinds["std"].values())
        if not good or whole != {name: array.shape for name, array in kinds["std"].items()}:
            raise InputError(f"{path}: expected a mean and a positive standard deviation of every feature")
        return cls(**kinds)

    def _kinds(self) -> list[tuple[str, dict[str, np.ndarray]]]:
        return [("mean", self.mean), ("std", self.std)]


def _check_statistics(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if name.rpartition("/")[2] not in ("mean", "std") or len(shape) != 1 or dtype != np.float32:
        raise ValueError(f"expected the mean or std of features in float32, found {dtype} {shape}")


def present_rows(matrix: np.ndarray) -> np.ndarray:
    """Returns bool ``[L]``: which turns have the feature of a ``[L, M]`` matrix."""
    return ~np.isnan(matrix[:, 0])
