"""How a command ends."""

import pytest

from dtrm_jax.errors import MAX_MESSAGE, InputError, did_you_mean, exit_status


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


@pytest.mark.parametrize(
    ("quoted", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[2Jcleared", r"\x1b[2Jcleared"),
        ("‮reversed", r"\u202ereversed"),
        ("\ud800", r"\ud800"),
        ("\x85\u2028", r"\x85\u2028"),
        ("é’ 中", "é’ 中"),
    ],
)
def test_what_a_message_quotes_is_one_printable_line(capsys, quoted, shown):
    error = InputError(f"file.csv, line 3: found {quoted}")
    assert str(error) == f"file.csv, line 3: found {shown}"

    def command():
        raise error

    assert exit_status(command) == 2
    assert capsys.readouterr().err == f"error: file.csv, line 3: found {shown}\n"


def test_a_long_message_loses_its_middle():
    message = str(InputError("file.csv: found " + "x" * 10**6 + ", expected y"))
    assert len(message) < MAX_MESSAGE + 20
    assert message.startswith("file.csv: found xxx") and message.endswith("xxx, expected y") and "[...]" in message
