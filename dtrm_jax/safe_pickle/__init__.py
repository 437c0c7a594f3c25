"""Reads other people's pickles and executes nothing: containers, numbers, strings and NumPy arrays, and no more."""

from dtrm_jax.safe_pickle.interpreter import MAX_DEPTH, load

__all__ = ["MAX_DEPTH", "load"]
