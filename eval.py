"""Evaluates a trained model: ``python eval.py --checkpoint runs/meld``. The same as ``dtrm-eval``; see its module."""

from dtrm_jax import commands

if __name__ == "__main__":
    commands.dtrm_eval()
