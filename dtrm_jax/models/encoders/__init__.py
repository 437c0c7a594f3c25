"""Utterance encoders: token sequences to states."""
