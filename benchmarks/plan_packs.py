"""Planning packs: its time for more and more conversations, and how full the packs are beside first fit over all.

    python benchmarks/plan_packs.py [--config=configs/planted.py] [--conversations=2000,4000,8000,100000] [--json FILE]

The conversations are those of the training split, repeated as often as it takes; ``--conversations=0`` takes them as
they are. Times are seconds of one core. First fit over all packs, as version 1 of the planner had it, takes time that
grows with the square of the conversations, and is left out beyond ``--first_fit_up_to``. Both plan for the same shape.
"""

import itertools
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from benchmarks import first_fit, record  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.batch import PackShape  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.data.examples import Example, make_examples  # noqa: E402
from dtrm_jax.data.packing import PLANNER, epoch_order, largest_first, measure_fill, plan_packs  # noqa: E402
from dtrm_jax.data.pipeline import batches  # noqa: E402
from dtrm_jax.data.plans import pack_shape, plan_training  # noqa: E402
from dtrm_jax.training import setup  # noqa: E402

_CONFIG = config_flags.DEFINE_config_file("config", "configs/planted.py", "The experiment, a file of configs/.")
_CONVERSATIONS = flags.DEFINE_list("conversations", ["2000", "4000", "8000", "100000"], "How many; 0 is the split.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many seeds are planned, two epochs each.", lower_bound=1)
_FIRST_FIT_UP_TO = flags.DEFINE_integer("first_fit_up_to", 8000, "Most conversations of first fit over all packs.")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the seconds of one core that something took, and its result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def fills(packs: list[int], lengths: list[list[int]], shape: PackShape, width: int) -> dict[str, Any]:
    """Returns how many packs each plan has, and their mean fill."""
    found = [measure_fill(lengths, count, shape, width) for count in packs]
    return {
        "packs": packs,
        "tokens": statistics.mean(fill.tokens for fill in found),
        "work": statistics.mean(fill.work for fill in found),
    }


def measure(prepare: Callable[[], list[Example]], config: Config, width: int, seeds: int) -> dict[str, Any]:
    """Returns the figures of one number of conversations.

    Args:
        prepare: Returns the conversations, tokenised.
        config: The experiment's.
        width: D of the encoder.
        seeds: Of epochs.
    """
    seconds: dict[str, float] = {}
    seconds["tokenised"], examples = timed(prepare)
    seconds["shape"], shape = timed(lambda: pack_shape(examples, config))
    lengths = [example.lengths for example in examples]
    seconds["evaluation"], planned = timed(lambda: plan_packs(lengths, largest_first(lengths), shape))
    epochs = [*itertools.product(range(seeds), (0, 1))]
    plans = [timed(lambda at=at: plan_packs(lengths, epoch_order(lengths, *at), shape)) for at in epochs]
    seconds["epoch"] = statistics.median(taken for taken, _ in plans)
    seconds["until_first_batch"], _ = timed(lambda: first_batch(examples, config))
    figures = {
        "conversations": len(examples),
        "turns": sum(map(len, lengths)),
        "rows": shape.rows,
        "seconds": seconds,
        "fill": {
            "evaluation": fills([len(planned)], lengths, shape, width),
            "epochs": fills([len(packs) for _, packs in plans], lengths, shape, width),
        },
    }
    if len(examples) <= _FIRST_FIT_UP_TO.value:
        over_all = [
            timed(lambda at=at: first_fit.first_fit(lengths, first_fit.epoch_order(lengths, *at), shape))
            for at in epochs
        ]
        seconds["epoch_by_first_fit_over_all"] = statistics.median(taken for taken, _ in over_all)
        before = fills([len(packs) for _, packs in over_all], lengths, shape, width)
        figures["fill"]["epochs_by_first_fit_over_all"] = before
        figures["fill_beside_first_fit"] = figures["fill"]["epochs"]["tokens"] / before["tokens"]
    return figures


def first_batch(examples: list[Example], config: Config) -> Any:
    """Plans a training and returns its first batch, as training does; the second epoch is planned meanwhile."""
    plan = plan_training(examples, config)
    steps = plan.steps[: plan.epoch_ends[0]]
    return next(batches(examples, steps, plan.shape, host=0, hosts=1, prefetch=1))


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    config = command_line.load_config(_CONFIG)
    experiment = setup.prepare(config)
    split, width = experiment.dataset.splits["train"], experiment.manifest.encoder.hidden_size

    def prepare(count: int) -> list[Example]:
        conversations = list(itertools.islice(itertools.cycle(split), count or len(split)))
        return make_examples(
            conversations, experiment.dataset.labels, experiment.tokenizer, experiment.normalization, experiment.config
        )

    results = []
    print(
        f"{'conversations':>13}{'turns':>9}{'tokenised':>11}{'shape':>7}{'evaluation':>12}{'epoch':>7}"
        f"{'first batch':>13}{'first fit over all':>20}{'fill':>7}{'beside it':>11}"
    )
    for count in map(int, _CONVERSATIONS.value):
        row = measure(lambda count=count: prepare(count), experiment.config, width, _SEEDS.value)
        results.append(row)
        taken = row["seconds"]
        beside = [taken.get("epoch_by_first_fit_over_all"), row.get("fill_beside_first_fit")]
        shown = [f"{value:.{digits}f}" if value else "" for value, digits in zip(beside, (2, 4), strict=True)]
        print(
            f"{row['conversations']:>13}{row['turns']:>9}{taken['tokenised']:>11.2f}{taken['shape']:>7.2f}"
            f"{taken['evaluation']:>12.2f}{taken['epoch']:>7.2f}{taken['until_first_batch']:>13.2f}{shown[0]:>20}"
            f"{row['fill']['epochs']['tokens']:>7.3f}{shown[1]:>11}",
            flush=True,
        )
    record.write({"planner": PLANNER, "corpus": experiment.dataset.name, "seeds": _SEEDS.value, "results": results})
    return 0


if __name__ == "__main__":
    command_line.run(main)
