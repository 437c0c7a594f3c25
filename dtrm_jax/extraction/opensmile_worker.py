"""A process that extracts features from clips: ``python -m dtrm_jax.extraction.opensmile_worker eGeMAPSv02``.

It answers each line of standard input, ``{"path": ..., "start": ..., "end": ...}``, with a line on standard output:
``{"features": [...]}``, or ``{"reason": ...}`` why there are none. Its first line says how many features there are. It
ends with its standard input, so that none is left behind by a process that was killed.
"""

import json
import os
import signal
import sys
import warnings
from typing import Any, BinaryIO

import numpy as np
import opensmile
import soundfile

# A turn is no longer. It is usually a time that is missing, and would take gigabytes of memory.
LONGEST = 3600  # seconds
_LARGEST = 32767 / 32768  # the largest sample that openSMILE, which takes 16 bits, does not turn into a negative one


class Absent(Exception):
    """A clip has no features; the message says why."""


def read(path: str, start: float, end: float | None) -> tuple[np.ndarray, int]:
    """Reads a part of a recording; no other part of the file is held in memory.

    Args:
        path: The file, of a kind that libsndfile knows: wav, flac, ogg, mp3 and others.
        start: In seconds.
        end: In seconds; None for the end of the recording. What lies behind that is not there.

    Returns:
        The mean of its channels, float32 ``[1, samples]``, and the samples per second.

    Raises:
        Absent: There is nothing in it, or it is longer than an hour.
        soundfile.SoundFileError: The file is damaged, or of another kind.
    """
    with soundfile.SoundFile(path) as file:
        rate, length = file.samplerate, file.frames
        first, last = round(start * rate), length if end is None else min(round(end * rate), length)
        if first >= length:
            raise Absent(f"starts at {start:g} s, the recording has {length / rate:g} s" if start else "is empty")
        if first >= last:
            raise Absent(f"is empty: from {start:g} s to {end:g} s")
        if last - first > LONGEST * rate:
            raise Absent(f"has {(last - first) / rate:g} s, a clip has at most {LONGEST}; give its start and end")
        file.seek(first)
        signal = file.read(last - first, dtype="float32", always_2d=True).T.mean(axis=0, keepdims=True)
    if not signal.shape[1]:
        raise Absent("is empty")
    return np.clip(signal, -1, _LARGEST, out=signal), rate


def vector(smile: opensmile.Smile, path: str, start: float, end: float | None) -> np.ndarray:
    """Returns the features of a clip, float32 ``[M]``.

    Raises:
        Absent: As ``read``, or the clip is too short for openSMILE.
        soundfile.SoundFileError: As ``read``.
    """
    signal, rate = read(path, start, end)
    found = smile(signal, rate).reshape(-1).astype(np.float32)
    if np.isnan(found).all():
        raise Absent(f"has {signal.shape[1] / rate:g} s, which is too short for openSMILE")
    if not np.isfinite(found).all():
        raise Absent(f"openSMILE gives {smile.feature_names[int(np.argmin(np.isfinite(found)))]} no finite value")
    return found


def smile_of(feature_set: str) -> opensmile.Smile:
    """Returns the extractor of a feature set: one vector per clip."""
    return opensmile.Smile(feature_set=opensmile.FeatureSet[feature_set], loglevel=0)


def _answer(smile: opensmile.Smile, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"features": vector(smile, **request).tolist()}
    except Absent as absent:
        return {"reason": str(absent)}
    except Exception as error:  # a damaged file may fail in any way; the clip is named, and the others go on
        return {"reason": f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}"}


def serve(feature_set: str, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers requests until there are no more."""

    def send(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()

    smile = smile_of(feature_set)
    send({"size": len(smile.feature_names)})
    for line in requests:
        send(_answer(smile, json.loads(line)))


def main() -> None:
    """Serves until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives the work
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the libraries print does not mix with the answers
    serve(sys.argv[1], sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
