"""Folders of encoders as transformers writes them, read by the families' own tables; a loader in a few lines."""

import json

import numpy as np
import safetensors.numpy

from dtrm_jax.errors import InputError

RATES = {"dropout": 0.1, "attention_dropout": 0.1}


class Values:
    """Reads the checked values of a ``config.json``."""

    def __init__(self, values, path="config.json"):
        self.values, self.path = values, path

    def get(self, key, default):
        return self.values.get(key, default)

    def refuse(self, key, expected):
        raise InputError(f"{self.path}: {key}: expected {expected}, found {self.values.get(key)!r}")

    def expect(self, key, expected):
        if self.values.get(key) != expected:
            self.refuse(key, repr(expected))

    def _checked(self, key, default, accepts, expected):
        value = self.values.get(key, default)
        if not accepts(value):
            self.refuse(key, expected)
        return value

    def size(self, key, *, least=1, default=None):
        return self._checked(key, default, lambda x: type(x) is int and x >= least, f"a whole number from {least}")

    def number(self, key):
        return float(self._checked(key, None, lambda x: type(x) in (int, float) and x > 0, "a number above 0"))

    def fraction(self, key):
        accepts = lambda x: type(x) in (int, float) and 0 < x < 1  # noqa: E731
        return float(self._checked(key, None, accepts, "a number between 0 and 1"))

    def flag(self, key, *, default=None):
        return self._checked(key, default, lambda x: type(x) is bool, "true or false")

    def choice(self, key, choices, *, default=None):
        return self._checked(key, default, lambda x: x in choices, " or ".join(choices))


def read_sizes(family, values, *, learned_segments=False, products="float32", rates=RATES):
    return family.from_config(Values(values), products=products, learned_segments=learned_segments, **rates)


def load(sizes, arrays):
    """Puts every array of a weight file where the family's table says; fails on anything left over."""
    (prefix,), params = sizes.prefixes, {}
    arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    arrays = {name: array for name, array in arrays.items() if not name.startswith(sizes.extras)}
    targets = sizes.arrays()
    assert arrays.keys() == targets.keys(), arrays.keys() ^ targets.keys()
    for name, target in targets.items():
        array = np.asarray(arrays[name], np.float32)
        assert array.shape == target.shape, (name, array.shape, target.shape)
        tree = params
        for key in target.path[:-1]:
            tree = tree.setdefault(key, {})
        tree[target.path[-1]] = np.ascontiguousarray(array.T) if target.transpose else array
    return params


def load_folder(family, folder, **settings):
    values = json.loads((folder / "config.json").read_text())
    sizes = read_sizes(family, values, **settings)
    return sizes, load(sizes, safetensors.numpy.load_file(folder / "model.safetensors"))
