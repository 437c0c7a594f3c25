"""The commands: flags in, text out. Each module has ``run``, which the scripts of the same name call."""
