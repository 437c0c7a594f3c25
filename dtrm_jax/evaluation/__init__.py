"""Logits to numbers."""
