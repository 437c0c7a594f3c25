"""Recordings for tests: tones with a melody, which openSMILE takes for a voice, as wav files."""

import csv
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

COLUMNS = ("conversation", "turn", "speaker", "text", "label", "audio", "start", "end")


def tone(seconds: float, *, rate: int = 16000, pitch: float = 150, channels: int = 1) -> np.ndarray:
    """Returns samples from -1 to 1, ``[samples, channels]``."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (pitch * time + 4 * np.sin(3 * time))
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    voice = sum(np.sin(number * phase) / number for number in range(1, 6)) * (0.2 + 0.1 * np.sin(9 * time)) + noise
    return np.stack([voice * (1 - 0.3 * channel) for channel in range(channels)], axis=1)


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> None:
    """Writes samples with 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """Writes a table of ``COLUMNS``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return path
