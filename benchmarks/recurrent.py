"""Training throughput of the baselines, ours beside the same model in PyTorch, twice.

    python benchmarks/recurrent.py --config configs/features.py --config.data.source=FOLDER \
        --config.model.modalities=a --config.model.architecture=dialogue_rnn --published [--steps=3] [--rounds=3]
        [--json FILE]

All take the same optimizer steps over the same conversations of features; a step holds the conversations of one of our
packs, which the peers pad to the longest of them. ``plain`` (``plain_peer.py``) is written as the models' published
code is, ``padded`` (``recurrent_peer.py``) leaves out what that computes needlessly and has no loop that could be an
operation on whole arrays. All have as many parameters. With ``--published``, sizes and batches are those with which the
model's authors train on the corpus (``config.data.name``, or ``config.data.corpus`` of one's own tables), else those of
the config. Compiling is done before the first round; assembling batches is part of a step. It needs torch: ``make
parity``.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax  # noqa: E402
from absl import flags  # noqa: E402

from benchmarks import contest, record  # noqa: E402
from benchmarks.ours import Ours  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.errors import InputError  # noqa: E402
from dtrm_jax.experiments import grid  # noqa: E402
from dtrm_jax.models import ARCHITECTURES  # noqa: E402
from dtrm_jax.training import setup  # noqa: E402

_CONFIG = command_line.define_config("The experiment: a config's name or file.")
_STEPS = flags.DEFINE_integer("steps", 3, "Optimizer steps of a round.", lower_bound=1)
_PUBLISHED = flags.DEFINE_boolean("published", False, "Whether the model is trained as its authors published it.")
_PADDED, _PLAIN = "padded", "plain"


def build(name: str, config: Config, steps: int) -> contest.Run:
    """Returns a contender's optimizer steps; they report their losses."""
    if name == contest.OURS:
        command_line.prepare_process()
    experiment = setup.prepare(config)
    used = experiment.plan.steps[:steps]
    if name == contest.OURS:
        return Ours(experiment, used).run
    from benchmarks.plain_peer import PLAIN
    from benchmarks.recurrent_peer import LEAN, RecurrentPeer

    models = PLAIN if name == _PLAIN else LEAN
    peer, ours = RecurrentPeer(experiment, models[config.model.architecture]), parameters(experiment)
    if peer.parameters != ours:
        raise AssertionError(f"expected a peer with {ours} parameters, found {peer.parameters}")
    batches = [[experiment.train[index] for pack in step for index in pack.members] for step in used]
    return lambda: [peer.step(batch) for batch in batches]


def parameters(experiment: setup.Experiment) -> int:
    """Returns how many numbers ours learns."""
    return sum(leaf.size for leaf in jax.tree.leaves(setup.initial_params(experiment)))


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    config = command_line.load_config(_CONFIG)
    if _PUBLISHED.value:
        published = ARCHITECTURES[config.model.architecture].published_for(config.data.corpus or config.data.name)
        config = grid.changed(config, published)
    if config.model.reads_text:
        raise InputError("config.model: expected features alone, as the peers read no text")
    if jax.default_backend() != "cpu":
        raise InputError(f"expected JAX on the CPU, as the peers are, found {jax.default_backend()}; JAX_PLATFORMS=cpu")
    experiment = setup.prepare(config)
    steps = experiment.plan.steps[: _STEPS.value]
    used = [[len(experiment.train[index].labels) for pack in step for index in pack.members] for step in steps]
    utterances, padded = sum(map(sum, used)), sum(max(turns) * len(turns) for turns in used)
    ours = parameters(experiment)
    print(
        f"{config.model.architecture}, {ours} parameters; {len(used)} steps per round: {utterances} utterances", end=""
    )
    print(f" in {sum(map(len, used))} conversations, {padded} with padding")
    peers = [_PADDED] if config.model.architecture == "c_lstm" else [_PADDED, _PLAIN]
    results = contest.summarise(contest.compare(peers, build, config, _STEPS.value), utterances, tokens=0)
    for name, row in results.items():
        low, high = row["ours_is_faster_by_range"]
        print(f"{name:<22}{row['utterances_per_second']:>10.1f} utterances/s", end="")
        print(f"{row['peak_bytes'] / 1e9:>8.1f} GB   ours is faster by", end="")
        print(f" {row['ours_is_faster_by']:.2f} ({low:.2f} to {high:.2f})")
    about = contest.describe(experiment, utterances, tokens=0) | {"architecture": config.model.architecture}
    record.write(about | {"parameters": ours, "steps": len(used), "padded": padded, "results": results})
    return 0


if __name__ == "__main__":
    command_line.run(main)
