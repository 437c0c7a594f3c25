"""The one exception for input that a user can mend."""


class InputError(ValueError):
    """Bad input: a data file, a config, weights or a run directory.

    The message is one line that names the file, the record and what was expected. Command-line scripts print it and
    exit with status 2; library callers may catch it as a ``ValueError``.
    """
