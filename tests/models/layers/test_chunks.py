"""The encoder over chunks of a pack's rows: the same numbers, forward and backward."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing import build_pack, choose_shape
from dtrm_jax.inference.compiled import parameter_shapes
from tests.factories import assert_trees_close, random_examples, random_params, tiny_config, tiny_model

SHAPE = PackShape(((13, 4), (29, 16)), 37)


def models(pooling):
    """The model as a whole and in chunks."""
    config = tiny_config(model__encoder__pooling=pooling)
    whole = tiny_model(config, SHAPE)
    encoder = dataclasses.replace(config.model.encoder, chunks=4)
    chunked = whole.clone(config=dataclasses.replace(config.model, encoder=encoder))
    return config, whole, chunked


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_chunks_change_no_output_and_no_gradient(pooling):
    config, whole, chunked = models(pooling)
    pack, params = build_pack(random_examples(0, (7, 1, 11), config), SHAPE), random_params(whole)
    assert jax.tree.map(jnp.shape, parameter_shapes(chunked)) == jax.tree.map(jnp.shape, params)

    def total(model, params):
        logits = model.apply({"params": params}, pack, deterministic=True)
        return jnp.sum(jnp.sin(logits) * (pack.conversation_U >= 0)[:, None]), logits

    (_, expected), gradients = jax.jit(jax.value_and_grad(lambda p: total(whole, p), has_aux=True))(params)
    (_, found), chunk_gradients = jax.jit(jax.value_and_grad(lambda p: total(chunked, p), has_aux=True))(params)
    used = pack.conversation_U >= 0
    np.testing.assert_allclose(found[used], expected[used], atol=1e-5)
    assert_trees_close(chunk_gradients, gradients, 1e-4)


def test_every_chunk_has_dropout_of_its_own():
    _, _, chunked = models("cls")
    chunked = chunked.clone(encoder=dataclasses.replace(chunked.encoder, dropout=0.5))
    # The same sequence at the same place of every chunk: with one mask for all chunks, they would come out equal.
    shape = PackShape(((29, 4),), 40)
    (example,) = random_examples(0, (1,), tiny_config())
    pack = build_pack([example] * (4 * (29 // example.lengths[0])), shape)
    chunked = chunked.clone(shape=shape)
    rng = {"dropout": jax.random.key(3)}
    apply = jax.jit(functools.partial(chunked.apply, deterministic=False, rngs=rng))
    logits = apply({"params": random_params(chunked)}, pack)
    first_of_chunk = np.asarray(logits)[(pack.cls_U % 29 == 0) & (pack.conversation_U >= 0)]
    assert len(first_of_chunk) == len(np.unique(first_of_chunk.round(4), axis=0)) == 4


def test_row_counts_are_multiples_of_the_chunks():
    config = tiny_config()
    lengths = [example.lengths for example in random_examples(0, (7, 1, 19, 5, 11), config)]
    plain, even = choose_shape(lengths, config.packing), choose_shape(lengths, config.packing, multiple=4)
    assert any(count % 4 for _, count in plain.rows)
    assert all(count % 4 == 0 for _, count in even.rows)
    assert [length for length, _ in even.rows] == [length for length, _ in plain.rows]
