"""Training throughput, ours beside plain PyTorch.

    python benchmarks/train_throughput.py --config configs/meld_minilm.py [--steps=10] [--rounds=3] [--json FILE]

All contenders take the same optimizer steps over the same conversations in turns, round after round, so that a machine
that is slower for a while is slower for all. Each has a process of its own, so that nobody's memory and threads are in
another's way. A step holds the conversations of one of our packs. Tokenizing and compiling are done before the first
round; assembling batches is part of a step.

The peers (``torch_peer.py``) need torch and transformers; ``--peers=`` measures ours alone.
"""

import importlib.metadata
import multiprocessing
import os
import pathlib
import resource
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

# JAX would otherwise take most of an accelerator's memory for itself, and the peers need theirs.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax  # noqa: E402
from absl import flags  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from benchmarks import record  # noqa: E402
from benchmarks.ours import Ours  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.errors import InputError  # noqa: E402
from dtrm_jax.training import setup  # noqa: E402

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, a file of configs/.")
FORMS = ("padded", "sorted", "padded-bfloat16", "sorted-bfloat16")
_PEERS = flags.DEFINE_list("peers", list(FORMS[:2]), f"Forms of the PyTorch peer, of {', '.join(FORMS)}; may be empty.")
_STEPS = flags.DEFINE_integer("steps", 10, "Optimizer steps of a round.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "How often every contender runs the steps.", lower_bound=1)
flags.mark_flag_as_required("config")

OURS = "dtrm_jax"


class Peer:
    """The PyTorch peer over the conversations of the same steps."""

    def __init__(self, experiment: setup.Experiment, steps: list[list[list[int]]], form: str):
        import transformers

        from benchmarks.torch_peer import TorchPeer

        transformers.logging.set_verbosity_error()  # it warns of the pooling weights, which the task has no use for
        train = experiment.dataset.splits["train"]
        self.batches = [[train[index] for pack in step for index in pack] for step in steps]
        self.peer = TorchPeer(experiment.config, experiment.dataset.labels, form)

    def run(self) -> list[float]:
        """Takes all steps."""
        return [self.peer.step(conversations) for conversations in self.batches]

    def tokens(self) -> int:
        """Real tokens of all steps."""
        sequences = (self.peer.sequences(conversation) for batch in self.batches for conversation in batch)
        return sum(len(sequence.ids) for conversation in sequences for sequence in conversation)


class Contender:
    """Trains in a process of its own.

    Args:
        name: ``OURS``, or a form of the peer.
        config: The experiment.
        steps: Number of optimizer steps of a round.
    """

    def __init__(self, name: str, config: Config, steps: int):
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, name, config, steps), daemon=True)
        self._process.start()

    def run(self) -> "Round":
        """Takes all steps."""
        try:
            self._orders.send("run")
            return self._orders.recv()
        except (EOFError, BrokenPipeError) as error:
            raise InputError(
                f"{self.name}: its process ended; if memory ran out, compare fewer --peers at once"
            ) from error

    def end(self) -> None:
        """Ends the process."""
        self._orders.send("end")
        self._process.join()


class Round(NamedTuple):
    """What a contender reports of a round: its time, every step's loss, and the peak of its memory so far."""

    seconds: float
    losses: list[float]
    peak_bytes: int


def _work(orders: Connection, name: str, config: Config, steps: int) -> None:
    if name == OURS:
        command_line.prepare_process()
    experiment = setup.prepare(config)
    used = experiment.plan.steps[:steps]
    contender = Ours(experiment, used) if name == OURS else Peer(experiment, used, name)
    while orders.recv() == "run":
        began = time.perf_counter()
        losses = contender.run()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        orders.send(Round(time.perf_counter() - began, losses, peak))


def measure(contenders: dict[str, Contender], rounds: int) -> dict[str, list[Round]]:
    """Returns each contender's rounds, after two that are not counted: one compiles, one grows the memory."""
    for name, contender in contenders.items():
        contender.run()
        losses = contender.run().losses
        print(f"{name:<21} warmed up, loss of the first and the last step {losses[0]:.4f} {losses[-1]:.4f}", flush=True)
    results: dict[str, list[Round]] = {name: [] for name in contenders}
    for number in range(rounds):
        # The order turns round, so that nobody always runs after the same neighbour.
        for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
            results[name].append(contenders[name].run())
    return results


def summarise(rounds: dict[str, list[Round]], utterances: int, tokens: int) -> dict[str, dict[str, Any]]:
    """Returns throughputs at the median round, and how many times as fast ours is, round by round.

    Args:
        rounds: Of each contender.
        utterances: In a round.
        tokens: Real tokens in a round.
    """
    results = {}
    seconds = {name: [one.seconds for one in reports] for name, reports in rounds.items()}
    for name, times in seconds.items():
        typical = statistics.median(times)
        ratios = [theirs / ours for theirs, ours in zip(times, seconds[OURS], strict=True)]
        results[name] = {
            "seconds": times,
            "utterances_per_second": utterances / typical,
            "tokens_per_second": tokens / typical,
            "peak_bytes": rounds[name][-1].peak_bytes,
            "ours_is_faster_by": statistics.median(ratios),
            "ours_is_faster_by_range": [min(ratios), max(ratios)],
        }
    return results


def check_peers(experiment: setup.Experiment, steps: list[list[list[int]]], tokens: int) -> None:
    """Checks that the peers can be had, follow the config, and are given the same tokens."""
    for form in _PEERS.value[:1]:  # the forms differ in padding only
        try:
            peer = Peer(experiment, steps, form)
        except ImportError as error:
            raise InputError(f"--peers={form}: needs {error.name}, run: pip install torch transformers") from error
        if peer.tokens() != tokens:
            raise AssertionError(f"torch {form}: expected the same {tokens} tokens as ours, found {peer.tokens()}")


def describe(experiment: setup.Experiment, utterances: int, tokens: int) -> dict[str, Any]:
    """Returns what was measured, where."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "flax")}
    if _PEERS.value:
        versions |= {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    settings, shape = experiment.config, experiment.facts.shape
    return {
        "config": settings.name,
        "corpus": experiment.dataset.name,
        "encoder": settings.model.encoder.pretrained,
        "dtype": settings.model.dtype,
        "products": settings.model.encoder.products,
        "device": jax.devices()[0].device_kind,
        "cpus": os.cpu_count(),
        "versions": versions,
        "steps": _STEPS.value,
        "rounds": _ROUNDS.value,
        "utterances": utterances,
        "tokens": tokens,
        "pack": {"rows": shape.rows, "utterances": shape.utterances},
    }


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    if unknown := [form for form in _PEERS.value if form not in FORMS]:
        raise InputError(f"--peers: expected some of {', '.join(FORMS)}, found {', '.join(unknown)}")
    config = command_line.load_config(_CONFIG)
    experiment = setup.prepare(config)
    steps = experiment.plan.steps[: _STEPS.value]
    used = [experiment.train[index] for step in steps for pack in step for index in pack]
    utterances, tokens = sum(len(one.sequences) for one in used), sum(sum(one.lengths) for one in used)
    check_peers(experiment, steps, tokens)
    forms = {OURS: OURS} | {f"torch {form}": form for form in _PEERS.value}
    contenders = {name: Contender(form, config, _STEPS.value) for name, form in forms.items()}
    print(
        f"{len(steps)} steps a round: {utterances} utterances, {tokens} tokens, packs of {experiment.facts.shape.rows}"
    )
    results = summarise(measure(contenders, _ROUNDS.value), utterances, tokens)
    for contender in contenders.values():
        contender.end()
    print(f"\n{'':<21}{'utterances/s':>14}{'tokens/s':>12}{'peak GB':>10}   ours is faster by")
    for name, row in results.items():
        low, high = row["ours_is_faster_by_range"]
        print(
            f"{name:<21}{row['utterances_per_second']:>14.1f}{row['tokens_per_second']:>12.0f}"
            f"{row['peak_bytes'] / 1e9:>10.1f}"
            f"   {row['ours_is_faster_by']:.2f} ({low:.2f} to {high:.2f})"
        )
    record.write(describe(experiment, utterances, tokens) | {"results": results})
    return 0


if __name__ == "__main__":
    command_line.run(main)
