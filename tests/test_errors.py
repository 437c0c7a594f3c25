"""How a command ends."""

import pytest

from dtrm_jax.errors import InputError, did_you_mean, exit_status


@pytest.mark.parametrize(
    ("raised", "status", "line"),
    [
        (None, 0, ""),
        (InputError("file: expected this"), 2, "error: file: expected this\n"),
        (FileNotFoundError(2, "No such file or directory", "file"), 2, "error: [Errno 2] No such file or directory"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_the_end_of_a_command(capsys, raised, status, line):
    def command():
        if raised is not None:
            raise raised

    assert exit_status(command) == status
    assert capsys.readouterr().err.startswith(line)


def test_a_status_is_kept_and_a_mistake_of_ours_is_not_hidden():
    assert exit_status(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        exit_status(lambda: 1 / 0)


def test_the_nearest_name_is_proposed():
    assert did_you_mean("mled", ("demo", "meld", "meld_minilm")) == "; did you mean meld?"
    assert did_you_mean("mled", ("meld",), "--config ") == "; did you mean --config meld?"
    assert did_you_mean("mled", ("iemocap", "planted")) == "" == did_you_mean("", ("meld",))
