"""Throughput of evaluation, ours beside plain PyTorch and beside FlaxBertModel.

    python benchmarks/inference_throughput.py --config configs/meld_minilm.py [--split=test] [--rounds=3] [--json FILE]

All contenders predict every turn of a split, in batches of the conversations of one of our packs, as ``eval.py`` does.
Reading, tokenizing and compiling are done before the first round; assembling batches is part of the work. Weights above
the encoder are not trained, which takes no other time.
"""

import os
import pathlib
import sys

# JAX would otherwise take most of an accelerator's memory for itself, and the peers need theirs.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from benchmarks import contest, record  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.data.examples import Example, make_examples  # noqa: E402
from dtrm_jax.data.plans import plan_evaluation  # noqa: E402
from dtrm_jax.errors import InputError  # noqa: E402
from dtrm_jax.evaluation.evaluator import Evaluator  # noqa: E402
from dtrm_jax.training import setup  # noqa: E402

_CONFIG = command_line.define_config("The experiment: a config's name or file.")
_SPLIT = flags.DEFINE_string("split", "test", "The split to predict.")


def prepare(config: Config, split: str) -> tuple[setup.Experiment, list[Example], Evaluator]:
    """Returns the experiment, the split's examples, and their evaluator.

    Raises:
        InputError: There is no such split, or what ``setup.prepare`` raises.
    """
    experiment = setup.prepare(config)
    labels, normalization = experiment.dataset.labels, experiment.normalization
    conversations = experiment.dataset.splits.get(split)
    if not conversations:
        raise InputError(f"--split: expected one of {', '.join(experiment.dataset.splits)}, found {split}")
    examples = make_examples(conversations, labels, experiment.tokenizer, normalization, config)
    plan = plan_evaluation(examples, config)
    return experiment, examples, Evaluator.build(experiment.model(plan.shape), plan, examples, experiment.task)


def build(name: str, config: Config, split: str) -> contest.Run:
    """Returns a contender's prediction of the split; it reports sums of the turns' largest probabilities."""
    if name == contest.OURS:
        command_line.prepare_process()
    experiment, examples, evaluator = prepare(config, split)
    if name == contest.OURS:
        params = setup.initial_params(experiment)
        return lambda: [float(turns.max(axis=-1).sum()) for turns in evaluator.outputs(params)]
    if name == "flax":
        from benchmarks.flax_peer import FlaxPeer

        return FlaxPeer(experiment, examples, [pack.members for pack in evaluator.plan.packs]).predict
    from benchmarks.torch_peer import TorchPeer

    peer = TorchPeer(experiment.config, experiment.dataset.labels, name)
    conversations = experiment.dataset.splits[split]
    contest.check_same_tokens(
        [example.lengths for example in examples],
        [[len(turn.ids) for turn in peer.sequences(one)] for one in conversations],
    )
    batches = [[conversations[index] for index in pack.members] for pack in evaluator.plan.packs]
    return lambda: [float(peer.predict(batch).amax(-1).sum()) for batch in batches]


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    peers, config = contest.peers(), command_line.load_config(_CONFIG)
    experiment, examples, evaluator = prepare(config, _SPLIT.value)
    utterances, tokens = sum(len(one.lengths) for one in examples), sum(sum(one.lengths) for one in examples)
    print(f"{_SPLIT.value}: {utterances} utterances, {tokens} tokens, {len(evaluator.plan.packs)} packs")
    results = contest.summarise(contest.compare(peers, build, config, _SPLIT.value), utterances, tokens)
    contest.show(results)
    about = contest.describe(experiment, utterances, tokens)
    record.write(about | {"split": _SPLIT.value, "results": results})
    return 0


if __name__ == "__main__":
    command_line.run(main)
