"""Predicts: ``python predict.py --checkpoint runs/meld FILE``. The same as ``dtrm-predict``; see its module."""

from dtrm_jax import commands

if __name__ == "__main__":
    commands.dtrm_predict()
