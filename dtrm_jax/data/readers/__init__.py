"""The field's real files, and generated ones, as conversations."""
