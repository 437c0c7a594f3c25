"""Training throughput, ours beside plain PyTorch and beside FlaxBertModel.

    python benchmarks/train_throughput.py --config configs/meld_minilm.py [--steps=10] [--rounds=3] [--json FILE]

All contenders take the same optimizer steps over the same conversations; a step holds the conversations of one of our
packs. Tokenizing and compiling are done before the first round; assembling batches is part of a step.

The peers (``torch_peer.py``, ``flax_peer.py``) need torch and transformers; ``--peers=`` measures ours alone.
"""

import os
import pathlib
import sys

# JAX would otherwise take most of an accelerator's memory for itself, and the peers need theirs.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from benchmarks import contest, record  # noqa: E402
from benchmarks.ours import Ours  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.training import setup  # noqa: E402

_CONFIG = command_line.define_config("The experiment: a config's name or file.")
_STEPS = flags.DEFINE_integer("steps", 10, "Optimizer steps of a round.", lower_bound=1)


def build(name: str, config: Config, steps: int) -> contest.Run:
    """Returns a contender's optimizer steps; they report their losses."""
    if name == contest.OURS:
        command_line.prepare_process()
    experiment = setup.prepare(config)
    used = experiment.plan.steps[:steps]
    if name == contest.OURS:
        return Ours(experiment, used).run
    batches = [[index for pack in step for index in pack.members] for step in used]
    if name == "flax":
        from benchmarks.flax_peer import FlaxPeer

        return FlaxPeer(experiment, experiment.train, batches).train
    from benchmarks.torch_peer import TorchPeer

    peer = TorchPeer(experiment.config, experiment.dataset.labels, name)
    conversations = [[experiment.dataset.splits["train"][index] for index in batch] for batch in batches]
    contest.check_same_tokens(
        [[experiment.train[index].lengths for index in batch] for batch in batches],
        [[[len(turn.ids) for turn in peer.sequences(one)] for one in batch] for batch in conversations],
    )
    return lambda: [peer.step(batch) for batch in conversations]


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    peers, config = contest.peers(), command_line.load_config(_CONFIG)
    experiment = setup.prepare(config)
    steps = experiment.plan.steps[: _STEPS.value]
    used = [experiment.train[index] for step in steps for pack in step for index in pack.members]
    utterances, tokens = sum(len(one.sequences) for one in used), sum(sum(one.lengths) for one in used)
    print(
        f"{len(steps)} steps per round: {utterances} utterances, {tokens} tokens, "
        f"packs of {experiment.manifest.shape.rows}"
    )
    results = contest.summarise(contest.compare(peers, build, config, _STEPS.value), utterances, tokens)
    contest.show(results)
    about = contest.describe(experiment, utterances, tokens)
    record.write(about | {"steps": len(steps), "results": results})
    return 0


if __name__ == "__main__":
    command_line.run(main)
