"""How much memory a training step needs, as the compiler plans it: nothing is allocated and nothing runs.

    python benchmarks/memory.py --config configs/iemocap.py --config.data.source=FOLDER [--json FILE]

The figures are those of ``jax.stages.Compiled.memory_analysis()`` for one device: the arguments (parameters, optimizer
state, batch), of which the state is donated, and the temporaries at their peak.
"""

import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from absl import flags  # noqa: E402
from jax.sharding import Mesh  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.data.packing import build_pack  # noqa: E402
from dtrm_jax.training import optimizer as optimizer_lib  # noqa: E402
from dtrm_jax.training import setup  # noqa: E402
from dtrm_jax.training.step import AXIS, TrainState, make_train_step, parallelise  # noqa: E402

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, a file of configs/.")
_JSON = flags.DEFINE_string("json", None, "Write the figures to this file too.")
flags.mark_flag_as_required("config")

GB = 1e9


def plan_memory(experiment: setup.Experiment) -> dict[str, float]:
    """Returns the bytes that a step of one pack needs on one device."""
    config, shape = experiment.config, experiment.facts.shape
    model = experiment.model(shape)
    optimizer = optimizer_lib.build_optimizer(config.optimizer, experiment.facts.total_steps)
    weights = jnp.asarray(setup.class_weights(experiment))
    step = make_train_step(model, optimizer, weights, config.train.label_smoothing, axis_name=AXIS)
    batch = jax.tree.map(lambda x: x[None], build_pack([], shape))

    def initial(rng: jax.Array) -> TrainState:
        pack = jax.tree.map(lambda x: x[0], batch)
        params = model.init(rng, pack, deterministic=True)["params"]
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    rng = jax.random.key(0)
    mesh = Mesh(np.asarray(jax.devices()[:1]), (AXIS,))
    compiled = parallelise(step, mesh).lower(jax.eval_shape(initial, rng), batch, rng).compile()
    analysis = compiled.memory_analysis()
    return {
        "arguments": analysis.argument_size_in_bytes,
        "outputs_beyond_donated": analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        "temporaries": analysis.temp_size_in_bytes,
    }


def main() -> int:
    """Compiles, prints and writes; returns the exit status."""
    experiment = setup.prepare(command_line.load_config(_CONFIG))
    sizes = plan_memory(experiment)
    shape, model = experiment.facts.shape, experiment.config.model
    record: dict[str, Any] = {
        "config": experiment.config.name,
        "window": experiment.config.tokens.window,
        "remat": model.remat,
        "dtype": model.dtype,
        "pack": {"rows": shape.rows, "tokens": shape.tokens, "utterances": shape.utterances},
        "bytes": sizes | {"all": sum(sizes.values())},
    }
    print(f"\n{experiment.config.name}, a pack of {shape.rows}, {shape.tokens} tokens, {shape.utterances} turns\n")
    for name, size in record["bytes"].items():
        print(f"{size / GB:>8.2f} GB  {name.replace('_', ' ')}")
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    command_line.run(main)
