"""Writing a file, or a folder of files, so that it appears complete or not at all."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TextIO, overload

from dtrm_jax import interruption
from dtrm_jax.errors import InputError, disk_problem


@overload
def replacing(path: str | os.PathLike) -> contextlib.AbstractContextManager[TextIO]: ...


@overload
def replacing(path: str | os.PathLike, *, binary: Literal[True]) -> contextlib.AbstractContextManager[BinaryIO]: ...


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, binary: bool = False) -> Iterator[TextIO | BinaryIO]:
    """Opens a file that takes the place of ``path`` when it is complete, and vanishes if an exception comes first.

    Folders above ``path`` are created.

    Args:
        path: The file to be replaced or created.
        binary: Whether bytes are written. If not, the text is UTF-8 and its line ends are written as they are.

    Raises:
        OSError: It cannot be written, as on a full disk; names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within a file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    options = {"mode": "xb"} if binary else {"mode": "x", "encoding": "utf-8", "newline": ""}
    try:
        with naming(path), interruption.unfinished(lambda: [temporary]), open(temporary, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename == os.fspath(temporary):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_beside(folder: Path) -> Iterator[Path]:
    """Makes a hidden folder beside ``folder``, which vanishes in the end, after Ctrl-C too, with what is still in it.

    Folders above ``folder`` are created.

    Raises:
        OSError: It cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    with interruption.unfinished(lambda: [beside]):
        beside.mkdir()
        try:
            yield beside
        finally:
            if beside.exists():
                shutil.rmtree(beside)


def put_folder(new: Path, folder: Path) -> None:
    """Gives a new folder of files its name when all of them are on disk; an empty folder of that name gives way.

    Raises:
        OSError: Something has come into that folder meanwhile, or a file cannot be written.
    """
    for file in new.iterdir():
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
    if folder.exists():
        folder.rmdir()
    os.replace(new, folder)


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Names a file in what goes wrong while it is written, which neither the system nor libraries do.

    Raises:
        OSError: The system's error, with the name.
        InputError: A library quotes such an error in an exception of its own.
    """
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    except Exception as error:
        if not isinstance(error, InputError) and (problem := disk_problem(error)):
            raise InputError(f"{path}: cannot be written: {problem}") from error
        raise
