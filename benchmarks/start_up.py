"""From the command to the first optimizer step: with nothing prepared, then with all that the first run left.

    python benchmarks/start_up.py --config configs/meld_minilm.py --config.data.source=FOLDER [--json FILE]

Runs ``train.py`` twice, in a process of its own and with a cache of its own, until the first line of ``metrics.jsonl``
is there. The second start finds prepared conversations and compiled programs in the cache; a third one resumes the
interrupted run.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402

_CONFIG = flags.DEFINE_string("config", None, "The experiment, a file of configs/; overrides are passed on.")
_LIMIT = 900  # seconds
flags.mark_flag_as_required("config")


def time_start(arguments: list[str], workdir: pathlib.Path, cache: pathlib.Path) -> float:
    """Returns the seconds until the first step is logged; then interrupts the run."""
    log = workdir / "metrics.jsonl"
    before = log.stat().st_size if log.exists() else 0
    command = [sys.executable, "train.py", *arguments, "--workdir", str(workdir), "--config.train.log_every_steps=1"]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment | {"DTRM_CACHE": str(cache)}, stderr=subprocess.PIPE, text=True
    ) as process:
        while not log.exists() or log.stat().st_size == before:
            if process.poll() is not None or time.perf_counter() - began > _LIMIT:
                process.kill()
                raise SystemExit(f"train.py did not come to its first step:\n{process.communicate()[1]}")
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        process.send_signal(signal.SIGINT)
        process.communicate()
    return seconds


def main(arguments: list[str]) -> None:
    """Times, prints and writes."""
    arguments = ["--config", _CONFIG.value, *arguments[1:]]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        seconds = {
            "cold": time_start(arguments, folder / "first", folder / "cache"),
            "warm": time_start(arguments, folder / "second", folder / "cache"),
            "resumed": time_start(arguments, folder / "second", folder / "cache"),
        }
    for start, taken in seconds.items():
        print(f"{start:<8}{taken:>7.1f} s")
    record.write({"config": _CONFIG.value, "cpus": os.cpu_count(), "seconds_to_first_step": seconds})


if __name__ == "__main__":
    app.run(main, flags_parser=lambda arguments: flags.FLAGS(arguments, known_only=True))
