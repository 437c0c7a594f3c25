"""The files that an evaluation leaves: ``predictions.csv``, ``metrics.json``, ``analysis.json``."""
