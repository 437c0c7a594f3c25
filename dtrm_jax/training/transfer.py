"""What is taken of the parameters of another run, and what starts anew.

The arrays of a layer are taken where all their names and shapes agree and they mean the same (``Model.unlike``). The
outputs are taken if the other run had every label, in whatever place and case. If it had only some of them, all start
anew: trained outputs beside untrained ones would win every turn at first. What starts anew does so as the seed says.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from dtrm_jax.config import Config
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.aligned import align
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.inference.trained import Trained
from dtrm_jax.models.interface import Model

Labels = LabelSpace | ValueSpace
Path = tuple[str, ...]
Flat = Mapping[Path, Any]


@dataclasses.dataclass(kw_only=True)
class Share:
    """How much of a part of the model was taken.

    Attributes:
        taken: Parameters.
        anew: Parameters.
        why: Why some start anew, the first reason first.
    """

    taken: int = 0
    anew: int = 0
    why: list[str] = dataclasses.field(default_factory=list)

    def count(self, array: Any, why: str) -> None:
        """Counts an array, which is taken unless there is a reason against it."""
        if why:
            self.anew += array.size
        else:
            self.taken += array.size
        kind = why.partition(":")[0]
        if why and not any(one.startswith(kind) for one in self.why):  # one example is enough
            self.why.append(why)


def transfer(
    params: Any,
    source: Trained,
    *,
    config: Config,
    labels: Labels,
    build: Callable[[int], Model],
    say: Callable[[str], None],
) -> Any:
    """Puts the parameters of another run into the place of the initial ones, where they fit.

    Args:
        params: The initial ones.
        source: The other run.
        config: Of the training.
        labels: Of the training's data.
        build: Builds its model with so many outputs.
        say: Is given what is taken and what starts anew, line by line.

    Raises:
        InputError: Nothing fits.
    """
    here, there = (flax.traverse_util.flatten_dict(tree) for tree in (params, source.params))
    outputs = output_axes(build, len(labels))
    unlike = _unlike(build(len(labels)), source.config, config, {path[0] for path in here})
    places = _places(source.manifest.labels, labels)
    misfits = _misfits(here, there, outputs, places)
    result, shares = {}, {part: Share() for part in params}
    for path, array in here.items():
        why = unlike.get(path[0], "") or unlike.get(path[-1], "") or misfits.get(path[:-1], "")
        if why:
            result[path] = array
        else:
            result[path] = np.take(there[path], places, outputs[path]) if path in outputs else there[path]
        shares[path[0]].count(array, why)
    if not any(share.taken for share in shares.values()):
        why = next((share.why[0] for share in shares.values() if share.why), "no part of the same name")
        raise InputError(f"config.train.init_from: nothing of {config.train.init_from} fits this model ({why})")
    left = {path: array for path, array in there.items() if path not in here}
    say(f"begins with the parameters of {config.train.init_from} ({source.manifest.corpus}, step {source.step}):")
    for line in _table(shares, left):
        say(f"  {line}")
    return flax.traverse_util.unflatten_dict(result)


def output_axes(build: Callable[[int], Model], outputs: int) -> dict[Path, int]:
    """Returns the arrays that have one slice per output, and along which axis: those that one more output changes."""
    one, more = (flax.traverse_util.flatten_dict(parameter_shapes(build(count))) for count in (outputs, outputs + 1))
    return {
        path: next(axis for axis, size in enumerate(array.shape) if size != more[path].shape[axis])
        for path, array in one.items()
        if array.shape != more[path].shape
    }


def _unlike(model: Model, there: Config, here: Config, parts: set[str]) -> Mapping[str, str]:
    """Returns what starts anew whatever its shapes are (``Model.unlike``), and why."""
    if there.model.architecture == here.model.architecture:
        return model.unlike(there, here, parts)
    # Models of different kinds share their encoders, and what they say that they share.
    why = f"{here.model.architecture} here, {there.model.architecture} there"
    shared = model.shares.get(there.model.architecture, frozenset())
    return dict.fromkeys(parts - model.encoder_parts - shared, why)


def _places(there: Labels, here: Labels) -> list[int] | str:
    """Returns the place in ``there`` of every label; if one has none, why not."""
    if type(there) is not type(here):
        return "other kinds of emotions"
    # A name in the same case comes first.
    places = {name.casefold(): place for place, name in enumerate(there.names)}
    places |= {name: place for place, name in enumerate(there.names)}
    found = [places.get(name, places.get(name.casefold())) for name in here.names]
    new = [name for name, place in zip(here.names, found, strict=True) if place is None]
    return f"labels that it did not have: {', '.join(new)}" if new else found


def _misfits(here: Flat, there: Flat, outputs: Mapping[Path, int], places: list[int] | str) -> dict[Path, str]:
    """Returns the layers, by their paths, that have an array that does not fit, and why."""
    result: dict[Path, str] = {}
    parts = {path[0] for path in there}
    for path, array in here.items():
        if path not in there:
            name = f": {'/'.join(path[1:])}" if path[0] in parts else ""
            result.setdefault(path[:-1], f"not in that run{name}")
            continue
        shape, other = list(array.shape), list(there[path].shape)
        if path in outputs:
            if isinstance(places, str):
                result.setdefault(path[:-1], places)
            del shape[outputs[path]], other[outputs[path]]
        if shape != other:
            what = f"{'/'.join(path[1:])} is {list(array.shape)}, was {list(there[path].shape)}"
            result.setdefault(path[:-1], f"other shapes: {what}")
    return result


def _table(shares: Mapping[str, Share], left: Flat) -> list[str]:
    """Returns lines on what is taken and what starts anew, part by part, and on what has no place here."""
    rows = [["part", "taken", "anew"], *([part, f"{s.taken:,}", f"{s.anew:,}"] for part, s in shares.items())]
    reasons = ["", *("; ".join(share.why) for share in shares.values())]
    lines = [f"{line}  {why}".rstrip() for line, why in zip(align(rows), reasons, strict=True)]
    counts = dict.fromkeys((path[0] for path in left), 0)
    for path, array in left.items():
        counts[path[0]] += array.size
    if counts:
        lines.append(f"left behind: {', '.join(f'{part} {count:,}' for part, count in counts.items())}")
    return lines
