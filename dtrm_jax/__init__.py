"""DialogueTRM in JAX/Flax: emotion recognition in conversations."""

__version__ = "0.1.0"
