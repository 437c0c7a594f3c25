"""Batch to logits: the pure-functional Flax modules of DialogueTRM."""
