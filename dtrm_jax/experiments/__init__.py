"""Grids of runs that answer one question, with one command each."""
