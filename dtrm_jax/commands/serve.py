"""Serves a trained model: ``dtrm-serve RUN``, a page for people and an HTTP endpoint for programs.

RUN is a run directory, an exported folder, or a name on the Hugging Face hub. The page takes a conversation, typed turn
by turn or pasted, and shows the emotion of every turn, its probabilities and the turns that were attended to.
docs/serving.md describes the endpoint. Only this machine can reach the service unless --host says otherwise. In a
checkout, ``python -m dtrm_jax.commands.serve`` is the same command.
"""

import importlib.util
import socket
import sys

from absl import flags

from dtrm_jax import command_line
from dtrm_jax.errors import InputError

_HOST = flags.DEFINE_string("host", "127.0.0.1", "Where to listen; 0.0.0.0 for all networks of this machine.")
_PORT = flags.DEFINE_integer("port", 8000, "Where to listen; 0 for any free port.", lower_bound=0, upper_bound=65535)
_STEP = flags.DEFINE_string("step", "best", "Which checkpoint: best (by the dev metric), latest, or a step.")
_NAMES = flags.DEFINE_list("names", [], "Further names by which browsers may call this service, such as moods.lan.")
_BYTES = flags.DEFINE_integer("max_bytes", 1_000_000, "Of a request.", lower_bound=1, upper_bound=1 << 26)
_TURNS = flags.DEFINE_integer("max_turns", 500, "Of a request.", lower_bound=1, upper_bound=100_000)
_CHARACTERS = flags.DEFINE_integer("max_characters", 10_000, "Of a turn.", lower_bound=1, upper_bound=1 << 20)
_SESSIONS = flags.DEFINE_integer("max_sessions", 256, "Live conversations at once.", lower_bound=0, upper_bound=100_000)
_IDLE = flags.DEFINE_float(
    "idle", 1800.0, "Seconds after which a session that nobody uses has ended.", lower_bound=0.0, upper_bound=1e6
)
_WAITING = flags.DEFINE_integer("max_waiting", 256, "Requests that wait.", lower_bound=1, upper_bound=100_000)

_NEEDED = ("starlette", "uvicorn")


def main(*arguments: str) -> int:
    """Serves until it is interrupted; returns the exit status."""
    if len(arguments) != 1:
        raise InputError(f"expected RUN, found {' '.join(arguments) or 'nothing'}")
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise InputError(f"dtrm-serve needs {' and '.join(missing)}: python -m pip install {' '.join(_NEEDED)}")
    from dtrm_jax.serving import listening

    # Before the model is read, which takes longer than to find that the port is in use.
    with listening.listen(_HOST.value, _PORT.value) as bound:
        _serve(arguments[0], bound)
    return 0


def _serve(run: str, bound: socket.socket) -> None:
    from dtrm_jax.inference.predictor import load
    from dtrm_jax.serving import listening
    from dtrm_jax.serving.application import application
    from dtrm_jax.serving.limits import Limits

    predictor = load(run, checkpoint=_STEP.value)
    limits = Limits(
        bytes=_BYTES.value,
        turns=_TURNS.value,
        characters=_CHARACTERS.value,
        sessions=_SESSIONS.value,
        idle=_IDLE.value,
        waiting=_WAITING.value,
    )
    app = application(predictor, limits, hosts=[_HOST.value, *_NAMES.value])
    print("compiling what requests need, which is kept for the next start", file=sys.stderr, flush=True)
    predictor.warm_up_packs(insides=True)
    if predictor.streams:
        predictor.warm_up(insides=True)
    address, who = listening.reachable(bound)
    print(f"serving {run} (step {predictor.trained.step}) at {address}, {who}", flush=True)
    listening.server(app).run(sockets=[bound])


def run() -> None:
    """Parses the command line and serves."""
    command_line.run(main, module=__name__, files=True)


if __name__ == "__main__":
    run()
