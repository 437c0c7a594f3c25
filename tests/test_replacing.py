"""What is being written vanishes with Ctrl-C; what is complete stays."""

import os
import subprocess
import sys

import pytest

from dtrm_jax import interruption
from tests.runs import ROOT

_CODE = """
import os, signal, sys
from pathlib import Path
from dtrm_jax import interruption
from dtrm_jax.replacing import folder_beside, put_folder, replacing

interruption.begin_command()
place = Path(sys.argv[1])
with folder_beside(place / "new/done") as unfinished:
    (unfinished / "file").write_text("text")
    put_folder(unfinished, place / "new/done")
with folder_beside(place / "new/folder") as unfinished, replacing(place / "file") as file:
    (unfinished / "below").mkdir()
    (unfinished / "below/file").write_text("half")
    file.write("half")
    assert len(list(place.rglob("*.tmp"))) == 2
    os.kill(os.getpid(), signal.SIGINT)
    print("went on")
"""


def test_ctrl_c_leaves_nothing_unfinished(tmp_path):
    done = subprocess.run([sys.executable, "-c", _CODE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (interruption.STATUS, "", "interrupted\n")
    found = [os.path.relpath(path, tmp_path) for path in tmp_path.rglob("*")]
    assert sorted(found) == ["new", "new/done", "new/done/file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_exception_leaves_nothing_either(tmp_path, error):
    from dtrm_jax.replacing import folder_beside

    with pytest.raises(error), folder_beside(tmp_path / "folder") as unfinished:
        (unfinished / "file").write_text("half")
        raise error
    assert not [*tmp_path.iterdir()]
