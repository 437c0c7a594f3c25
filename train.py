"""Trains a model: ``python train.py --config configs/meld.py``. The same as ``dtrm-train``; see its module."""

from dtrm_jax.commands import train

if __name__ == "__main__":
    train.run()
