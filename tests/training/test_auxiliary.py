"""What a model has trained besides its outputs: the step minimises the sum, divided once by the weight of all turns."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dtrm_jax.data.packing import build_pack
from dtrm_jax.models.interface import Model
from dtrm_jax.models.layers.auxiliary import AUXILIARY
from dtrm_jax.tasks import Classes
from dtrm_jax.tasks.losses import cross_entropy
from dtrm_jax.training.step import initial_state, make_train_step
from tests.factories import LABELS, assert_trees_close, random_params, stack
from tests.training.test_step import CLASS_WEIGHTS, SHAPE, SMOOTHING, conversations


class TwoOutputs(Model):
    """Two affine maps of the speaker; the second one is trained to the same labels, and the first one kept small."""

    @nn.compact
    def __call__(self, batch, *, deterministic):
        speakers_Ux4 = jax.nn.one_hot(batch.speaker_U, 4)
        self.sow(AUXILIARY, "second_output", nn.Dense(len(LABELS), name="second")(speakers_Ux4))
        return nn.Dense(len(LABELS), name="first")(speakers_Ux4)

    @nn.nowrap
    def auxiliary_losses(self, sown, output_UxC, pack, loss):
        (second_UxC,) = sown["second_output"]
        penalty = (output_UxC**2 * pack.weight_U[:, None]).sum()
        return {"second": 0.5 * loss(second_UxC, pack), "penalty": 0.1 * penalty}


def test_the_step_descends_the_sum_of_all_losses():
    model = TwoOutputs(shape=SHAPE)
    batch = stack([build_pack(conversations(seed, *turns), SHAPE) for seed, turns in enumerate([(9, 7), (5,)])])
    params = random_params(model)

    def mean_loss(params):
        total, weight = 0.0, 0.0
        for pack in (jax.tree.map(lambda x, index=index: x[index], batch) for index in range(2)):
            speakers = jax.nn.one_hot(pack.speaker_U, 4)
            first, second = (speakers @ params[n]["kernel"] + params[n]["bias"] for n in ("first", "second"))
            losses = [
                cross_entropy(logits, pack.label_U, pack.weight_U, CLASS_WEIGHTS, SMOOTHING)
                for logits in (first, second)
            ]
            total += losses[0][0] + 0.5 * losses[1][0] + 0.1 * (first**2 * pack.weight_U[:, None]).sum()
            weight += losses[0][1]
        return total / weight, (total, weight)

    (_, (total, weight)), gradients = jax.value_and_grad(mean_loss, has_aux=True)(params)
    step = jax.jit(make_train_step(model, optax.sgd(0.1), Classes(LABELS), CLASS_WEIGHTS, SMOOTHING))
    state, sums = step(initial_state(params, optax.sgd(0.1)), batch, jax.random.key(0))
    assert_trees_close(state.params, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), atol=1e-6)
    np.testing.assert_allclose([sums.loss, sums.weight], [total, weight], rtol=1e-5)
    assert np.abs(gradients["second"]["kernel"]).max() > 0.01


def test_elsewhere_nothing_of_it_is_returned():
    model = TwoOutputs(shape=SHAPE)
    pack = build_pack(conversations(0, 4), SHAPE)
    logits = model.apply({"params": random_params(model)}, pack, deterministic=True)
    assert logits.shape == (SHAPE.utterances, len(LABELS)) and jnp.isfinite(logits).all()
