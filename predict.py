"""Predicts: ``python predict.py --checkpoint runs/meld FILE``. The same as ``dtrm-predict``; see its module."""

from dtrm_jax.commands import predict

if __name__ == "__main__":
    predict.run()
