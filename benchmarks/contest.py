"""Contenders that take turns over the same work, each in a process of its own.

They run round after round, so that a machine that is slower for a while is slower for all; in processes of their own,
so that nobody's memory and threads are in another's way.
"""

import importlib.metadata
import importlib.util
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import jax
from absl import flags

from dtrm_jax.errors import InputError
from dtrm_jax.training.setup import Experiment

OURS = "dtrm_jax"
TORCH_FORMS = ("padded", "sorted", "padded-bfloat16", "sorted-bfloat16")
PEERS = (*TORCH_FORMS, "flax")
_NAMES = {OURS: OURS, "flax": "FlaxBertModel padded"} | {form: f"torch {form}" for form in (*TORCH_FORMS, "plain")}

_PEERS = flags.DEFINE_list("peers", list(PEERS[:2]), f"Peers to compare with, of {', '.join(PEERS)}; may be empty.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "How often every contender does the work.", lower_bound=1)

# Does the work once; returns figures that tell whether it was done, such as losses.
Run = Callable[[], list[float]]


class Round(NamedTuple):
    """A contender's report of a round: its time, its run's figures, and the peak of its memory so far."""

    seconds: float
    figures: list[float]
    peak_bytes: int


class Contender:
    """Does its work in a process of its own.

    Args:
        name: ``OURS`` or a peer's.
        build: A module's function, called in that process with ``name`` and ``arguments``; returns the work.
        arguments: Whatever can be pickled.
    """

    def __init__(self, name: str, build: Callable[..., Run], *arguments: Any):
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, build, name, *arguments), daemon=True)
        self._process.start()

    def wait(self) -> None:
        """Waits until it is ready to work; raises InputError if it cannot."""
        self._receive()

    def run(self) -> Round:
        """Does the work once."""
        self._orders.send("run")
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._orders.recv()
        except (EOFError, ConnectionResetError) as error:
            raise InputError(
                f"{self.name}: its process ended; if memory ran out, compare fewer --peers at once"
            ) from error
        if isinstance(answer, InputError):
            raise answer
        return answer

    def end(self) -> None:
        """Ends the process."""
        self._orders.send("end")
        self._process.join()


def _work(orders: Connection, build: Callable[..., Run], *arguments: Any) -> None:
    try:
        run = build(*arguments)
    except InputError as error:
        orders.send(error)
        return
    orders.send("ready")
    while _next_order(orders) == "run":
        began = time.perf_counter()
        figures = run()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        orders.send(Round(time.perf_counter() - began, figures, peak))


def _next_order(orders: Connection) -> str:
    try:
        return orders.recv()
    except EOFError:  # whoever gave the orders has ended, and has said why
        return "end"


def peers() -> list[str]:
    """Returns the peers asked for.

    Raises:
        InputError: One is unknown, or what it needs is not installed.
    """
    if unknown := [name for name in _PEERS.value if name not in PEERS]:
        raise InputError(f"--peers: expected some of {', '.join(PEERS)}, found {', '.join(unknown)}")
    for name in _PEERS.value:
        for package in ("transformers",) if name == "flax" else ("torch", "transformers"):
            if not importlib.util.find_spec(package):
                raise InputError(f"--peers={name}: needs {package}, run: make parity")
    return _PEERS.value


def rounds() -> int:
    """Returns how often every contender does the work."""
    return _ROUNDS.value


def compare(names: Sequence[str], build: Callable[..., Run], *arguments: Any) -> dict[str, list[Round]]:
    """Lets ours and the named peers do the work in turns, after two rounds that are not counted.

    The first of those compiles, the second grows the memory.

    Returns:
        Each contender's rounds, ours first.
    """
    contenders = [Contender(name, build, *arguments) for name in (OURS, *names)]
    for contender in contenders:
        contender.wait()
    for contender in contenders:
        contender.run()
        figures = contender.run().figures
        print(f"{_NAMES[contender.name]:<22} warmed up, first and last figure {figures[0]:.4f} {figures[-1]:.4f}")
    done: dict[str, list[Round]] = {_NAMES[contender.name]: [] for contender in contenders}
    for number in range(rounds()):
        # The order turns round, so that nobody always runs after the same neighbour.
        for contender in contenders[:: 1 if number % 2 == 0 else -1]:
            done[_NAMES[contender.name]].append(contender.run())
    for contender in contenders:
        contender.end()
    return done


def check_same_tokens(ours: list, theirs: list) -> None:
    """Checks that a peer encodes what ours does: equal nested lists of the sequences' lengths."""
    if ours != theirs:
        raise AssertionError("expected a peer to have the same tokens as ours in every turn")


def summarise(done: dict[str, list[Round]], utterances: int, tokens: int) -> dict[str, dict[str, Any]]:
    """Returns throughputs at the median round, and how many times as fast ours is, round by round.

    Args:
        done: Rounds of each contender.
        utterances: In a round.
        tokens: Real tokens in a round.
    """
    results = {}
    seconds = {name: [one.seconds for one in reports] for name, reports in done.items()}
    for name, times in seconds.items():
        typical = statistics.median(times)
        ratios = [theirs / ours for theirs, ours in zip(times, seconds[OURS], strict=True)]
        results[name] = {
            "seconds": times,
            "utterances_per_second": utterances / typical,
            "tokens_per_second": tokens / typical,
            "peak_bytes": done[name][-1].peak_bytes,
            "ours_is_faster_by": statistics.median(ratios),
            "ours_is_faster_by_range": [min(ratios), max(ratios)],
        }
    return results


def show(results: dict[str, dict[str, Any]]) -> None:
    """Prints the results as a table."""
    print(f"\n{'':<22}{'utterances/s':>14}{'tokens/s':>12}{'peak GB':>10}   ours is faster by")
    for name, row in results.items():
        low, high = row["ours_is_faster_by_range"]
        print(
            f"{name:<22}{row['utterances_per_second']:>14.1f}{row['tokens_per_second']:>12.0f}"
            f"{row['peak_bytes'] / 1e9:>10.1f}"
            f"   {row['ours_is_faster_by']:.2f} ({low:.2f} to {high:.2f})"
        )


def machine(*, peers: bool) -> dict[str, Any]:
    """Returns the device and the versions of the packages, PyTorch's too if there are peers."""
    packages = ("jax", "flax", *(("torch", "transformers") if peers else ()))
    return {
        "device": jax.devices()[0].device_kind,
        "cpus": os.cpu_count(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def describe(experiment: Experiment, utterances: int, tokens: int) -> dict[str, Any]:
    """Returns the measurements and the machine that they were made on."""
    settings, shape = experiment.config, experiment.manifest.shape
    return {
        "config": settings.name,
        "corpus": experiment.dataset.name,
        "encoder": settings.model.encoder.pretrained,
        "window": settings.tokens.window,
        "max_length": settings.tokens.max_length,
        "intra_modal_layers": settings.model.intra_modal.layers,
        "dtype": settings.model.dtype,
        "products": settings.model.encoder.products,
        **machine(peers=bool(_PEERS.value)),
        "rounds": _ROUNDS.value,
        "utterances": utterances,
        "tokens": tokens,
        "pack": {"rows": shape.rows, "utterances": shape.utterances},
    }
