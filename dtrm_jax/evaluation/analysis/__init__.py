"""Analyses behind the scores: emotion shifts, short utterances, intervals, calibration, two predictions compared."""
