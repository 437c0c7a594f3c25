"""Latency of a live conversation on one core: ours beside PyTorch, which runs the window again for every turn.

    python benchmarks/streaming.py --config configs/meld_minilm.py --config.model.intra_modal.turn_distance=none \
        --config.train.label_smoothing=0 --config.train.class_balance=0 --config.data.source=FOLDER [--json FILE]

The conversation is made of the test split's, laid end to end. The peer is the model of ``torch_peer.py``, which is
given the token sequences of the last K + 1 turns, as a batch padded to the longest: what a turn sees in the first
layer. (For our result it would need K more per layer.) Ours is given the text. Both take blocks of turns by turns, so
that a machine that is slower for a while is slower for both. Weights above the encoder are not trained, which takes no
other time.

The conversation is gone through in several rounds. Beside the times of all turns of all rounds there are those of each
turn's fastest round, which say more of the program where other processes want the same cores.
"""

import itertools
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
from absl import flags  # noqa: E402

from benchmarks import contest, record  # noqa: E402
from benchmarks.untrained import untrained  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.conversation import Conversation  # noqa: E402
from dtrm_jax.data import protocol  # noqa: E402
from dtrm_jax.errors import InputError  # noqa: E402

_CONFIG = command_line.define_config("The experiment: a config's name or file.")
_TURNS = flags.DEFINE_integer("turns", 1000, "Turns of the conversation.", lower_bound=4)
_BLOCKS = flags.DEFINE_integer("blocks", 10, "Blocks of turns, of a round, that the two take by turns.", lower_bound=2)
_CORES = flags.DEFINE_integer("cores", 1, "Processor cores for each of the two.", lower_bound=1)
_PERCENT = (0, 1, 10, 25, 50, 75, 90, 99, 100)
_FORMS = ("padded", "padded-bfloat16")
flags.FLAGS.set_default("peers", list(_FORMS[:1]))


def conversation_of(config: Config, turns: int) -> Conversation:
    """Returns a conversation of so many turns: those of the test split, one after another, and again if need be.

    Raises:
        InputError: What ``protocol.load`` raises.
    """
    split = protocol.load(config).splits["test"]
    one_by_one = [turn for conversation in split for turn in conversation.turns]
    chosen = [one_by_one[index % len(one_by_one)] for index in range(turns)]
    return Conversation("live", tuple(type(turn)(str(i), turn.speaker, turn.text) for i, turn in enumerate(chosen)))


def build(name: str, config: Config, turns: int, blocks: int) -> contest.Run:
    """Returns a contender's work on the next block of turns, which reports the seconds of each turn.

    Ours reports one figure more: the largest difference so far from a probability of the whole conversation at once.
    """
    conversation = conversation_of(config, turns)
    ends = np.linspace(0, turns, blocks + 1).round().astype(int)
    parts = itertools.cycle([range(begin, end) for begin, end in zip(ends, ends[1:], strict=False)])
    return _ours(config, conversation, parts) if name == contest.OURS else _torch(name, config, conversation, parts)


def _ours(config: Config, conversation: Conversation, parts: Iterator[range]) -> contest.Run:
    command_line.prepare_process()
    predictor = untrained(config)
    whole = predictor.predict(conversation)
    stream, worst = predictor.stream(), 0.0
    for turn in conversation.turns:  # compiles every length
        stream.add(turn.speaker, turn.text)

    def run() -> list[float]:
        nonlocal worst
        seconds, part = [], next(parts)
        if part.start == 0:
            stream.reset()
        for index in part:
            turn = conversation.turns[index]
            began = time.perf_counter()
            found = stream.add(turn.speaker, turn.text)
            seconds.append(time.perf_counter() - began)
            pairs = zip(found.probabilities.values(), whole[index].probabilities.values(), strict=True)
            worst = max(worst, *(abs(one - other) for one, other in pairs))
        return [*seconds, worst]

    return run


def _torch(form: str, config: Config, conversation: Conversation, parts: Iterator[range]) -> contest.Run:
    import torch

    from benchmarks.torch_peer import TorchPeer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    peer = TorchPeer(config, protocol.load(config).labels, form)
    sequences, window = peer.sequences(conversation), config.tokens.window
    for turn in range(min(50, len(sequences))):
        peer.predict_last(sequences[max(0, turn - window) : turn + 1])

    def run() -> list[float]:
        seconds = []
        for turn in next(parts):
            began = time.perf_counter()
            peer.predict_last(sequences[max(0, turn - window) : turn + 1])
            seconds.append(time.perf_counter() - began)
        return seconds

    return run


def measure(names: list[str], config: Config) -> dict[str, list[list[float]]]:
    """Returns the figures of every contender, block by block; their order turns round from block to block."""
    contenders = [contest.Contender(name, build, config, _TURNS.value, _BLOCKS.value) for name in names]
    for contender in contenders:
        contender.wait()
    figures: dict[str, list[list[float]]] = {name: [] for name in names}
    for block in range(contest.rounds() * _BLOCKS.value):
        for contender in contenders[:: 1 if block % 2 == 0 else -1]:
            figures[contender.name].append(contender.run().figures)
    for contender in contenders:
        contender.end()
    return figures


def summarise(blocks: list[list[float]]) -> dict[str, Any]:
    """Returns the milliseconds of a turn, from the seconds of each turn by block."""
    ms_RoxTu = 1e3 * np.concatenate([np.asarray(block) for block in blocks]).reshape(contest.rounds(), -1)
    return {
        "all_rounds": _described(ms_RoxTu),
        "fastest_round_of_each_turn": _described(ms_RoxTu.min(axis=0, keepdims=True)),
        "median_ms_by_block": [1e3 * statistics.median(block) for block in blocks],
        "ms_at_percent": {str(percent): float(np.percentile(ms_RoxTu, percent)) for percent in _PERCENT},
    }


def _described(ms_RoxTu: np.ndarray) -> dict[str, float]:
    """Returns the quantiles of turns' milliseconds, and whether later turns take longer."""
    tenth = max(1, ms_RoxTu.shape[1] // 10)
    return {
        "median_ms": float(np.median(ms_RoxTu)),
        "p99_ms": float(np.percentile(ms_RoxTu, 99)),
        "median_ms_of_first_tenth": float(np.median(ms_RoxTu[:, :tenth])),
        "median_ms_of_last_tenth": float(np.median(ms_RoxTu[:, -tenth:])),
    }


def show(results: dict[str, dict[str, Any]]) -> None:
    """Prints the results as a table, and adds how many times as fast ours is, block by block."""
    print(f"\n{'':<30}{'median ms':>10}{'p99 ms':>9}{'first tenth':>13}{'last tenth':>12}")
    for name, row in results.items():
        for kind in ("all_rounds", "fastest_round_of_each_turn"):
            median, p99, first, last = row[kind].values()
            title = f"{name}, {kind.split('_')[0]}{' round' if kind != 'all_rounds' else ' rounds'}"
            print(f"{title:<30}{median:>10.2f}{p99:>9.2f}{first:>13.2f}{last:>12.2f}")
    ours = results[contest.OURS]["median_ms_by_block"]
    for name, row in results.items():
        ratios = [theirs / own for theirs, own in zip(row["median_ms_by_block"], ours, strict=True)]
        row["ours_is_faster_by"], row["ours_is_faster_by_range"] = statistics.median(ratios), [min(ratios), max(ratios)]
        if name != contest.OURS:
            low, high = row["ours_is_faster_by_range"]
            print(f"ours is faster than {name} by {row['ours_is_faster_by']:.2f} ({low:.2f} to {high:.2f})")


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    config, peers = command_line.load_config(_CONFIG), contest.peers()
    if unknown := [name for name in peers if name not in _FORMS]:
        raise InputError(f"--peers: expected some of {', '.join(_FORMS)}, found {', '.join(unknown)}")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < _CORES.value:
        raise InputError(f"--cores: expected at most {len(cores)}, found {_CORES.value}")
    os.sched_setaffinity(0, cores[-_CORES.value :])  # which the contenders inherit
    load = os.getloadavg()[0]
    figures = measure([contest.OURS, *peers], config)
    difference = figures[contest.OURS][-1][-1]
    results = {contest.OURS: summarise([block[:-1] for block in figures[contest.OURS]])}
    results |= {f"torch {name}": summarise(figures[name]) for name in peers}
    show(results)
    print(f"largest difference from the whole conversation at once: {difference:.1e}")
    about = {
        "config": config.name,
        "encoder": config.model.encoder.pretrained,
        "window": config.tokens.window,
        "intra_modal_layers": config.model.intra_modal.layers,
        "products": config.model.encoder.products,
        "turns": _TURNS.value,
        "rounds": contest.rounds(),
        "cores": _CORES.value,
        "load_of_the_machine": [load, os.getloadavg()[0]],  # before and after; processes that want to run
        "largest_difference": difference,
    }
    record.write(about | contest.machine(peers=bool(peers)) | {"results": results})
    return 0


if __name__ == "__main__":
    command_line.run(main)
