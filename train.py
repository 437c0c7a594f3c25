"""Trains a model: ``python train.py --config configs/meld.py``. The same as ``dtrm-train``; see its module."""

from dtrm_jax import commands

if __name__ == "__main__":
    commands.dtrm_train()
