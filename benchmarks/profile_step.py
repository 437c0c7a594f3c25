"""Where the time of one training step goes, and how much of the machine it uses.

    python benchmarks/profile_step.py --config configs/meld_minilm.py [--steps=3] [--json FILE]

Prints the share of every kind of operation, from XLA's own trace; the model's floating-point operations on real tokens
(packing waste counts against us) beside the fastest matrix products of the same process; and how long the step waits
for its batch. Shares are of the operations' times, of which some run side by side.
"""

import collections
import os
import pathlib
import re
import sys
import tempfile
import time
from typing import Any

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_xprof_traceme=true"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from absl import flags  # noqa: E402

from benchmarks import record  # noqa: E402
from benchmarks.ours import Ours  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.data.examples import Example  # noqa: E402
from dtrm_jax.training import setup  # noqa: E402

_CONFIG = command_line.define_config("The experiment: a config's name or file.")
_STEPS = flags.DEFINE_integer("steps", 3, "Optimizer steps to look at.", lower_bound=1)
_OPERATIONS = flags.DEFINE_integer("operations", 0, "Print so many of the longest operations too.")

# The first pattern that an operation's name matches says what kind it is.
_KINDS = (
    ("attention: products", r"(hqs|qhe|batched).*dot_general"),
    ("dropout", r"Dropout"),
    ("layer norms", r"LayerNorm|norm\d"),
    ("products with weights", r"dot_general|(dense|linear\d|query|key|value|out)/transpose"),
    ("attention: softmax, masks, layout", r"attention"),
    ("GELU, ReLU", r"erf|intermediate/|relu"),
    ("embedding", r"embeddings"),
    ("optimizer", r"^jit\(train_step\)/(?!.*DialogueTRM)"),
)


def model_flops(examples: list[Example], experiment: setup.Experiment) -> float:
    """Floating-point operations that training on these conversations asks for, forward and backward."""
    manifest, config = experiment.manifest, experiment.config.model
    encoder, above = manifest.encoder, config.intra_modal
    width = encoder.hidden_size
    lengths = np.concatenate([example.lengths for example in examples]).astype(float)
    per_token = 2 * (4 * width**2 + 2 * width * encoder.intermediate_size)
    forward = encoder.layers * (per_token * lengths.sum() + 4 * width * (lengths**2).sum())
    seen = experiment.config.tokens.window + 1
    per_turn = above.layers * (2 * (4 * width**2 + 2 * width * above.feed_forward) + 4 * width * seen)
    per_turn += 2 * (width**2 + width * len(manifest.labels))
    return 3 * (forward + per_turn * len(lengths))


def fastest_products(dtype: jnp.dtype) -> float:
    """Floating-point operations per second of a large matrix product with float32 sums."""
    x, y = jnp.ones((4096, 1024), dtype), jnp.ones((1024, 4096), dtype)
    product = jax.jit(lambda x, y: jnp.matmul(x, y, preferred_element_type=jnp.float32))
    product(x, y).block_until_ready()
    times = []
    for _ in range(10):
        began = time.perf_counter()
        product(x, y).block_until_ready()
        times.append(time.perf_counter() - began)
    return 2 * 4096 * 1024 * 4096 / min(times)


def operation_times(ours: Ours, steps: list[Any]) -> collections.Counter[str]:
    """Returns seconds by operation, summed over the steps; what runs side by side shares the time."""
    events = []
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for batch in steps:
                jax.block_until_ready(ours.step(batch))
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            for line in plane.lines:
                for event in line.events:
                    operation = dict(event.stats).get("hlo_op")
                    if operation and not event.name.startswith("end:"):
                        events.append((operation, event.start_ns, event.start_ns + event.duration_ns))
    return shared_times(events)


def shared_times(events: list[tuple[str, float, float]]) -> collections.Counter[str]:
    """Divides every moment among the operations that run in it.

    Args:
        events: Operations with their beginnings and ends, in nanoseconds.

    Returns:
        Seconds by operation.
    """
    changes = sorted(
        (moment, begins, number)
        for number, (_, start, end) in enumerate(events)
        for moment, begins in ((start, True), (end, False))
    )
    seconds = collections.Counter({operation: 0.0 for operation, _, _ in events})
    running: set[int] = set()
    before = 0.0
    for moment, begins, number in changes:
        for other in running:
            seconds[events[other][0]] += (moment - before) / len(running) / 1e9
        before = moment
        (running.add if begins else running.discard)(number)
    return seconds


def names(program: str) -> dict[str, str]:
    """Maps the program's operations to the JAX operations that they come from."""
    found = re.finditer(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*?(?:op_name="([^"]*)".*)?$', program, re.MULTILINE)
    return {match[1]: match[2] or "" for match in found}


def kind_of(name: str) -> str:
    """Returns the kind of an operation."""
    return next((kind for kind, pattern in _KINDS if re.search(pattern, name)), "other: copies, conversions")


def time_steps(ours: Ours) -> tuple[float, float]:
    """Returns the seconds of all steps, and those of them that were spent waiting for batches."""
    waited, began = 0.0, time.perf_counter()
    source = ours.batches()
    while True:
        asked = time.perf_counter()
        batch = next(source, None)
        if batch is None:
            return time.perf_counter() - began, waited
        waited += time.perf_counter() - asked
        jax.block_until_ready(ours.step(batch))


def shares_by_kind(seconds: collections.Counter[str], kinds: dict[str, str]) -> dict[str, float]:
    """Returns the share of every kind of operation, the largest first."""
    totals: collections.Counter[str] = collections.Counter()
    for operation, duration in seconds.items():
        totals[kinds[operation]] += duration
    return {kind: total / sum(seconds.values()) for kind, total in totals.most_common()}


def measure(experiment: setup.Experiment) -> tuple[dict[str, Any], list[str]]:
    """Returns the figures, and a line for each of the longest operations."""
    plan, shape = experiment.plan.steps[: _STEPS.value], experiment.manifest.shape
    ours = Ours(experiment, plan)
    steps = list(ours.batches())
    name_of = names(ours.train_step.lower(ours.state, steps[0], ours.rng).compile().as_text())
    for _ in range(2):  # the first run compiles, the second has the heap at its size
        ours.run()
    total, waited = time_steps(ours)
    examples = [experiment.train[index] for step in plan for pack in step for index in pack.members]
    seconds = operation_times(ours, steps)
    kinds = {operation: kind_of(name_of.get(operation, "")) for operation in seconds}
    turns, everything = sum(len(example.labels) for example in examples), sum(seconds.values())
    figures = {
        "config": experiment.config.name,
        "products": experiment.config.model.encoder.products,
        "pack": {"rows": shape.rows, "utterances": shape.utterances},
        "steps": len(plan),
        "turns": turns,
        "seconds_a_step": total / len(plan),
        "utterances_per_second": turns / total,
        "waiting_for_batches": waited / total,
        "model_flops_per_second": model_flops(examples, experiment) / total,
        "fastest_products": {name: fastest_products(jnp.dtype(name)) for name in ("float32", "bfloat16")},
        "shares": shares_by_kind(seconds, kinds),
        "operations": dict(collections.Counter(kinds.values())),
    }
    longest = seconds.most_common(_OPERATIONS.value)
    return figures, [f"{time / everything:>7.1%}  {name}  {name_of.get(name, '')}" for name, time in longest]


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    figures, longest = measure(setup.prepare(command_line.load_config(_CONFIG)))
    print(f"\n{figures['config']}, {figures['steps']} steps, {figures['turns']} turns, {figures['pack']}\n")
    for kind, share in figures["shares"].items():
        print(f"{share:>7.1%}  {kind}")
    print("\n".join(["", *longest]))
    speed = figures["model_flops_per_second"]
    print(
        f"{figures['seconds_a_step']:.3f} s a step, {figures['utterances_per_second']:.1f} utterances/s, "
        f"{figures['waiting_for_batches']:.2%} of the time spent on waiting for batches"
    )
    for name, peak in figures["fastest_products"].items():
        print(f"{speed / 1e9:.0f} GFLOP/s of the model, {speed / peak:.0%} of {peak / 1e9:.0f} in {name} products")
    record.write(figures)
    return 0


if __name__ == "__main__":
    command_line.run(main)
