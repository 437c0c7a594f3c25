"""Products with few rows are products, and so are their gradients."""

import jax
import numpy as np
import pytest

from dtrm_jax.models.layers.few_rows import StepAffine
from tests.golden import explicit

KERNEL, BIAS = explicit.array((5, 7), 1), explicit.array((7,), 2)


@pytest.mark.parametrize("rows", [(1,), (3,), (3, 4), (80,), (9, 9)])
def test_they_equal_the_usual_product(rows):
    x, given = explicit.array((*rows, 5), 3), explicit.array((*rows, 7), 4)
    arguments = (x, KERNEL, BIAS)
    found, pull_back = jax.vjp(jax.jit(lambda x, kernel, bias: StepAffine.of(kernel, bias)(x)), *arguments)
    expected, expected_pull_back = jax.vjp(lambda x, kernel, bias: x @ kernel + bias, *arguments)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    for one, other in zip(pull_back(given), expected_pull_back(given), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
