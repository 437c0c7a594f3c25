"""Evaluates a trained model: ``python eval.py --checkpoint runs/meld``. The same as ``dtrm-eval``; see its module."""

from dtrm_jax.commands import eval as evaluation

if __name__ == "__main__":
    evaluation.run()
