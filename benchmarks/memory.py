"""How much memory a training step needs, as the compiler plans it: nothing is allocated and nothing runs.

    python benchmarks/memory.py --config configs/iemocap.py --config.data.source=FOLDER [--json FILE]

The figures are those of ``jax.stages.Compiled.memory_analysis()`` for one device: the arguments (parameters, optimizer
state, batch), of which the state is donated, and the temporaries at their peak.
"""

import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax  # noqa: E402

from benchmarks import record  # noqa: E402
from benchmarks.ours import one_device  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.data.packing import build_pack  # noqa: E402
from dtrm_jax.inference.compiled import parameter_shapes  # noqa: E402
from dtrm_jax.training import setup  # noqa: E402
from dtrm_jax.training.step import initial_state, parallelise  # noqa: E402

_CONFIG = command_line.define_config("The experiment: a config's name or file.")

GB = 1e9


def plan_memory(experiment: setup.Experiment) -> dict[str, float]:
    """Returns the bytes that a step of one pack needs on one device."""
    shape = experiment.manifest.shape
    optimizer, step = setup.pure_step(experiment)
    params = parameter_shapes(experiment.model(shape))
    state = jax.eval_shape(lambda params: initial_state(params, optimizer), params)
    batch = jax.tree.map(lambda x: x[None], build_pack([], shape))
    analysis = parallelise(step, one_device()).lower(state, batch, jax.random.key(0)).compile().memory_analysis()
    return {
        "arguments": analysis.argument_size_in_bytes,
        "outputs_beyond_donated": analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        "temporaries": analysis.temp_size_in_bytes,
    }


def main() -> int:
    """Compiles, prints and writes; returns the exit status."""
    experiment = setup.prepare(command_line.load_config(_CONFIG))
    sizes = plan_memory(experiment)
    shape, model = experiment.manifest.shape, experiment.config.model
    figures: dict[str, Any] = {
        "config": experiment.config.name,
        "window": experiment.config.tokens.window,
        "remat": model.remat,
        "chunks": model.encoder.chunks,
        "dtype": model.dtype,
        "pack": {"rows": shape.rows, "tokens": shape.tokens, "utterances": shape.utterances},
        "bytes": sizes | {"all": sum(sizes.values())},
    }
    print(f"\n{experiment.config.name}, a pack of {shape.rows}, {shape.tokens} tokens, {shape.utterances} turns\n")
    for name, size in figures["bytes"].items():
        print(f"{size / GB:>8.2f} GB  {name.replace('_', ' ')}")
    record.write(figures)
    return 0


if __name__ == "__main__":
    command_line.run(main)
