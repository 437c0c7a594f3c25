"""How many spoken clips ``dtrm-extract audio`` does in a second, by one process and by several.

    python benchmarks/extraction.py [--clips=200] [--workers=2] [--json FILE]

espeak-ng speaks clips of two to five seconds. The numbers of processes take turns, round after round. A round is the
whole command, from its start until the folder is there; the rate leaves out what the command takes for one clip alone,
which is its start.
"""

import csv
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from benchmarks import record  # noqa: E402
from dtrm_jax import command_line  # noqa: E402

_CLIPS = flags.DEFINE_integer("clips", 200, "Clips that are spoken.", lower_bound=2)
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes, beside one.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "How often each number of processes does the work.", lower_bound=1)
_FEATURES = flags.DEFINE_string("features", "eGeMAPSv02", "What is extracted.")

_VOICES = ("en+f3", "en+m2")
_TEXTS = (
    "It was a good one, thank you, and there is not a crumb of it left.",
    "The train leaves at nine, and we are still sitting here in our pyjamas.",
    "We won! After all these years!",
    "The rent is due on Friday, and I cannot believe that you forgot it again.",
    "Have you eaten my sandwich?",
)


def speak(folder: pathlib.Path, clips: int) -> tuple[pathlib.Path, float]:
    """Speaks clips; returns the table that names them, and their seconds of sound."""
    table, seconds = folder / "talks.csv", 0.0
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("conversation", "speaker", "text", "label", "audio"))
        for number in range(clips):
            text, voice = f"{number}. {_TEXTS[number % len(_TEXTS)]}", _VOICES[number % len(_VOICES)]
            sound = folder / f"{number}.wav"
            subprocess.run(["espeak-ng", "-v", voice, "-w", str(sound), text], check=True)
            with wave.open(str(sound)) as spoken:
                seconds += spoken.getnframes() / spoken.getframerate()
            writer.writerow((number // 10, voice, text, "joy", sound.name))
    return table, seconds


def extract(table: pathlib.Path, workers: int) -> float:
    """Extracts the features of a table; returns the seconds that the command takes."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "dtrm_jax.commands.extract", "audio", str(table), "--output", f"{name}/heard"]
        options = [f"--workers={workers}", f"--features={_FEATURES.value}"]
        began = time.perf_counter()
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds


def measure(table: pathlib.Path, alone: pathlib.Path, numbers: Sequence[int]) -> dict[int, list[tuple[float, float]]]:
    """Returns, by number of processes, each round's seconds for all clips and for one."""
    rounds: dict[int, list[tuple[float, float]]] = {workers: [] for workers in numbers}
    for number in range(_ROUNDS.value):
        for workers in list(numbers)[:: 1 if number % 2 == 0 else -1]:
            rounds[workers].append((extract(table, workers), extract(alone, workers)))
    return rounds


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        table, seconds = speak(folder, _CLIPS.value)
        alone = folder / "one.csv"
        alone.write_text("".join(table.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
        rounds = measure(table, alone, (1, _WORKERS.value))
    rates = {
        workers: [(_CLIPS.value - 1) / max(all_of - one, 1e-9) for all_of, one in some]
        for workers, some in rounds.items()
    }
    ratios = [more / one for one, more in zip(*rates.values(), strict=True)]
    for workers, some in rates.items():
        whole, start = (statistics.median(column) for column in zip(*rounds[workers], strict=True))
        print(
            f"{workers} process{'es' if workers > 1 else ''}: {statistics.median(some):.1f} clips/s, "
            f"{whole:.1f} s in all, {start:.1f} s with one clip"
        )
    print(f"{_WORKERS.value} beside 1: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    record.write(
        {
            "features": _FEATURES.value,
            "clips": _CLIPS.value,
            "seconds_of_sound": seconds,
            "cpus": os.cpu_count(),
            "load_of_the_machine": [before, os.getloadavg()[0]],
            "seconds": rounds,
            "clips_per_second": rates,
            "faster_by": statistics.median(ratios),
            "faster_by_range": [min(ratios), max(ratios)],
        }
    )
    return 0


if __name__ == "__main__":
    command_line.run(main)
