"""The cost per turn of conversations of 100 to 10,000 turns: time and memory of the intra-modal Transformer.

    python benchmarks/linear_cost.py [--turns=100,1000,10000] [--window=14] [--layers=6] [--json FILE]

Forward and backward, at the width of MiniLM with the paper's six layers. Attention is banded, so that both grow
linearly with the turns. First one conversation alone in a pack of its size, where the parameters' gradients, which cost
the same for any, weigh on a short one; then as many conversations of a length as fill a pack of the longest's size.
Memory is the temporaries that the compiler plans for the first, without parameters and their gradients.
"""

import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from absl import flags  # noqa: E402

from benchmarks import record  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.config import IntraModalConfig  # noqa: E402
from dtrm_jax.models.dialogue_trm.intra_modal import IntraModal  # noqa: E402

_TURNS = flags.DEFINE_list("turns", ["100", "300", "1000", "3000", "10000"], "Lengths of the conversation.")
_WINDOW = flags.DEFINE_integer("window", 14, "K.", lower_bound=0)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often every length is timed, in turns.", lower_bound=1)
_LAYERS = flags.DEFINE_integer("layers", 6, "Layers of the intra-modal Transformer.", lower_bound=1)

WIDTH = 384


def compile_gradient(turns: int, window: int, layers: int) -> tuple[jax.stages.Compiled, tuple]:
    """Returns the compiled gradient of a sum over the representations, and its arguments."""
    model = IntraModal(IntraModalConfig(layers=layers), "dependent", window, jnp.dtype("float32"))
    f_UxD = jax.random.normal(jax.random.key(0), (turns, WIDTH))
    place = (jnp.zeros(turns, jnp.int32), jnp.arange(turns, dtype=jnp.int32))
    params = jax.jit(lambda: model.init(jax.random.key(1), f_UxD, *place, True)["params"])()

    def total(params, f_UxD, conversation_U, turn_U, key):
        r_UxD = model.apply({"params": params}, f_UxD, conversation_U, turn_U, False, rngs={"dropout": key})
        return jnp.sum(r_UxD * f_UxD)

    arguments = (params, f_UxD, *place, jax.random.key(2))
    return jax.jit(jax.grad(total, argnums=(0, 1))).lower(*arguments).compile(), arguments


def measure(lengths: list[int], window: int, layers: int, rounds: int) -> dict[int, dict[str, float]]:
    """Returns the cost per turn for every length, in ascending order.

    Seconds per turn, alone and in a full pack, and how they compare with the longest conversation's in the same round;
    the program's temporary bytes, and those that each turn beyond the next shorter conversation adds.
    """
    alone = {turns: compile_gradient(turns, window, layers) for turns in lengths}
    longest = lengths[-1]
    program, (params, f_UxD, _, slot_U, key) = alone[longest]
    full = {turns: (program, (params, f_UxD, slot_U // turns, slot_U % turns, key)) for turns in lengths}
    seconds: dict[int, list[float]] = {turns: [] for turns in lengths}
    seconds_full: dict[int, list[float]] = {turns: [] for turns in lengths}
    for _ in range(rounds + 1):
        for turns in lengths:
            repeats = longest // turns  # all take as long
            seconds[turns].append(_time(*alone[turns], repeats) / repeats / turns)
            seconds_full[turns].append(_time(*full[turns], 1) / longest)
    temporaries = {turns: program.memory_analysis().temp_size_in_bytes for turns, (program, _) in alone.items()}
    results, shorter = {}, 0
    for turns in lengths:
        results[turns] = {
            "seconds_a_turn": statistics.median(seconds[turns][1:]),
            "time_beside_longest": _beside(seconds[turns][1:], seconds[longest][1:]),
            "seconds_a_turn_in_a_full_pack": statistics.median(seconds_full[turns][1:]),
            "time_beside_longest_in_a_full_pack": _beside(seconds_full[turns][1:], seconds[longest][1:]),
            "bytes": temporaries[turns],
            "bytes_a_further_turn": (temporaries[turns] - temporaries.get(shorter, 0)) / (turns - shorter),
        }
        shorter = turns
    return results


def _time(program: jax.stages.Compiled, arguments: tuple, repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(program(*arguments))
    return time.perf_counter() - began


def _beside(times: list[float], longest: list[float]) -> float:
    return statistics.median(ours / theirs for ours, theirs in zip(times, longest, strict=True))


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    command_line.prepare_process()
    results = measure(sorted(map(int, _TURNS.value)), _WINDOW.value, _LAYERS.value, _ROUNDS.value)
    print(
        f"{'turns':>7}{'us per turn':>12}{'of longest':>12}{'in full pack':>14}{'of longest':>12}"
        f"{'MB':>10}{'KB per turn more':>17}"
    )
    for turns, row in results.items():
        print(
            f"{turns:>7}{row['seconds_a_turn'] * 1e6:>12.1f}{row['time_beside_longest']:>12.2f}"
            f"{row['seconds_a_turn_in_a_full_pack'] * 1e6:>14.1f}{row['time_beside_longest_in_a_full_pack']:>12.2f}"
            f"{row['bytes'] / 1e6:>10.0f}{row['bytes_a_further_turn'] / 1e3:>17.0f}"
        )
    about = {"window": _WINDOW.value, "layers": _LAYERS.value, "width": WIDTH, "rounds": _ROUNDS.value}
    record.write(about | {"results": results})
    return 0


if __name__ == "__main__":
    command_line.run(main)
