"""Two real processes train what one does; who joins whom."""

import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from dtrm_jax import distributed
from dtrm_jax.errors import InputError
from tests.runs import ROOT, environment, saved_state

# Packs of uneven fill; three steps of two packs, then checkpoints and a dev evaluation.
SETTINGS = (
    "--config=configs/demo.py",
    "--config.data.planted.train=24",
    "--config.data.planted.dev=4",
    "--config.data.planted.test=1",
    "--config.model.modalities=u",
    "--config.model.encoder.layers=1",
    "--config.model.intra_modal.layers=1",
    "--config.packing.packs_per_step=2",
    "--config.packing.tokens=1024",
    "--config.train.epochs=1",
    # A step of Adam moves every parameter by about the rate: a hundred times the tolerance.
    "--config.optimizer.learning_rate=1e-4",
    "--config.optimizer.encoder_learning_rate=1e-4",
)


def start(workdir, cache, *arguments):
    command = [sys.executable, "train.py", *SETTINGS, "--workdir", str(workdir), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(cache), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(*processes):
    for process in processes:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def test_two_processes_train_what_one_does(tmp_path):
    finish(start(tmp_path / "alone", tmp_path / "cache"))
    meeting = f"localhost:{free_port()},2"
    both = [start(tmp_path / "both", tmp_path / "cache", f"--distributed={meeting},{number}") for number in range(2)]
    finish(*both)
    (step, alone), (same_step, together) = saved_state(tmp_path / "alone"), saved_state(tmp_path / "both")
    assert step == same_step > 1
    assert alone.keys() == together.keys()
    for path, value in alone.items():
        np.testing.assert_allclose(together[path], value, rtol=0, atol=1e-6, err_msg=path)


def test_a_signal_to_one_of_two_processes_ends_both_after_the_same_step(tmp_path):
    settings = (
        "--config.train.epochs=2000",
        "--config.train.evaluate_every_steps=100000",
        "--config.train.log_every_steps=1",
    )
    settings += ("--config.train.save_every_steps=0",)
    meeting, run = f"localhost:{free_port()},2", tmp_path / "run"
    both = [start(run, tmp_path / "cache", *settings, f"--distributed={meeting},{number}") for number in range(2)]
    log, until = run / "metrics.jsonl", time.monotonic() + 200
    while not (log.exists() and log.read_text().count("\n") > 3) and time.monotonic() < until:
        time.sleep(0.1)
    both[1].send_signal(signal.SIGINT)
    outputs = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [128 + signal.SIGTERM, 128 + signal.SIGINT], outputs
    (step,) = {re.search(r"interrupted at step (\d+); the same command resumes there", output)[1] for output in outputs}
    assert 3 < int(step) < 6000 and saved_state(run)[0] == int(step)


def test_a_port_in_use_and_nobody_there_are_one_line(monkeypatch):
    monkeypatch.setattr(distributed, "_PATIENCE_S", 0.3)
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--distributed: localhost:{port}: cannot listen there: .*in use"):
            distributed.join(f"localhost:{port},2,0")
    with pytest.raises(
        InputError, match=f"--distributed: localhost:{port}: nobody listened there for 0.3 s: .*refused"
    ):
        distributed.join(f"localhost:{port},2,1")


@pytest.mark.parametrize("meeting", ["here", "localhost,2,0", "localhost:1234,2", "localhost:1234,2,2", "a b:1,2,0"])
def test_a_meeting_that_is_none_is_one_line(meeting):
    with pytest.raises(InputError, match="expected auto or HOST:PORT,PROCESSES,NUMBER with numbers from 0, found"):
        distributed.join(meeting)
