"""Grids of runs that answer one question, with one command each."""

from dtrm_jax import interruption

interruption.expect_while_importing()
