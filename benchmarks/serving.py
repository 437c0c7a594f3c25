"""The service under load, ours beside a plain FastAPI and PyTorch service of the same model.

    python benchmarks/serving.py --config configs/meld_minilm.py --config.model.intra_modal.turn_distance=none \
        --config.train.label_smoothing=0 --config.train.class_balance=0 --config.data.source=FOLDER [--json FILE]

Both listen on loopback, each in a process of its own, and take turns round after round. ``whole``: clients side by side
send conversations of the test split. ``live``: clients side by side send conversations turn by turn; ours goes on with
a session, the peer is sent the last K + 1 turns, as a service without sessions is. The peer's requests run in FastAPI's
threads, one after another. At the end ours answers --requests further requests,
and the memory of its process is read before and after. Weights above the encoder are not trained, which takes no other
time.
"""

import asyncio
import itertools
import json
import os
import pathlib
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
from absl import flags  # noqa: E402

from benchmarks import contest, record  # noqa: E402
from benchmarks.untrained import untrained  # noqa: E402
from dtrm_jax import command_line  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.conversation import Conversation, Turn  # noqa: E402
from dtrm_jax.data import protocol  # noqa: E402
from dtrm_jax.serving import listening  # noqa: E402

_CONFIG = command_line.define_config("The experiment: a config's name or file.")
_CLIENTS = flags.DEFINE_integer("clients", 8, "Clients side by side.", lower_bound=1)
_CONVERSATIONS = flags.DEFINE_integer("conversations", 64, "Of the test split, in a round.", lower_bound=1)
_REQUESTS = flags.DEFINE_integer("requests", 10_000, "Further requests that memory is watched over; 0: none.")
_PEER = flags.DEFINE_bool("peer", True, "Whether PyTorch is measured too.")

PLAIN = "padded"  # the form of the peer
TITLES = {contest.OURS: "dtrm_jax", PLAIN: "FastAPI, PyTorch"}

Talk = list[dict[str, str]]


def build(name: str, config: Config) -> contest.Run:
    """Starts a service in this process; returns what reports its port and the memory of the process in bytes."""
    if name == contest.OURS:
        command_line.prepare_process()
        app = _ours(config)
    else:
        app = _plain(config)
    bound = listening.listen("127.0.0.1", 0)
    threading.Thread(target=listening.server(app).run, kwargs={"sockets": [bound]}, daemon=True).start()
    return lambda: [bound.getsockname()[1], _resident()]


def _resident() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _ours(config: Config) -> Any:
    from dtrm_jax.serving.application import application
    from dtrm_jax.serving.limits import Limits

    limits = Limits(bytes=10**6, turns=500, characters=10**4, sessions=256, idle=1800.0, waiting=256)
    predictor = untrained(config)
    predictor.warm_up_packs(insides=True)  # as dtrm-serve does
    predictor.warm_up(insides=True)
    return application(predictor, limits)


def _plain(config: Config) -> Any:
    """The service as one would write it with FastAPI and PyTorch."""
    import fastapi
    import torch
    from pydantic import BaseModel

    from benchmarks.torch_peer import TorchPeer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    labels = protocol.load(config).labels
    peer, lock = TorchPeer(config, labels, PLAIN), threading.Lock()

    class GivenTurn(BaseModel):
        speaker: str
        text: str

    class Given(BaseModel):
        turns: list[GivenTurn]

    def answered(turns: list[Turn], shares: torch.Tensor) -> list[dict[str, Any]]:
        pairs = zip(turns, shares.tolist(), strict=True)
        return [
            {
                "turn": turn.id,
                "label": labels.names[int(np.argmax(row))],
                "probabilities": dict(zip(labels.names, row, strict=True)),
            }
            for turn, row in pairs
        ]

    app = fastapi.FastAPI()

    def turns_of(given: Given) -> list[Turn]:
        return [Turn(str(place), turn.speaker, turn.text) for place, turn in enumerate(given.turns, start=1)]

    @app.post("/predict")
    def predict(given: Given) -> dict[str, Any]:
        turns = turns_of(given)
        with lock:
            shares = peer.predict([Conversation("1", tuple(turns))])
            peer.forget()
        return {"turns": answered(turns, shares)}

    @app.post("/last")
    def last(given: Given) -> dict[str, Any]:
        turns = turns_of(given)
        with lock:
            shares = peer.predict_last(peer.sequences(Conversation("1", tuple(turns))))
            peer.forget()
        return answered(turns[-1:], shares[None])[0]

    return app


class Client:
    """One connection that stays open, as a program's does.

    Args:
        port: Of the service.
    """

    def __init__(self, port: int):
        self._port, self.seconds = port, []

    async def __aenter__(self) -> "Client":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, path: str, body: Any) -> Any:
        """Posts a body and returns the answer; remembers how long it took."""
        began = time.perf_counter()
        answer = await self._exchange("POST", path, json.dumps(body).encode())
        self.seconds.append(time.perf_counter() - began)
        return json.loads(answer)

    async def end(self, path: str) -> None:
        """Deletes what is there; takes no time of the conversations'."""
        await self._exchange("DELETE", path, b"")

    async def _exchange(self, method: str, path: str, content: bytes) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        size = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        answer = await self._reader.readexactly(size)
        if not lines[0].split()[1].startswith("20"):
            raise RuntimeError(f"{lines[0]}: {answer}")
        return answer


Work = Callable[[Client, Talk], Awaitable[int]]


async def whole(client: Client, talk: Talk, path: str = "/v1/predict") -> int:
    """Sends a conversation; returns the number of its turns."""
    return len((await client.ask(path, {"turns": talk}))["turns"])


async def live(client: Client, talk: Talk) -> int:
    """Sends a conversation turn by turn into a session."""
    session = (await client.ask("/v1/sessions", {}))["session"]
    client.seconds.pop()
    for turn in talk:
        await client.ask(f"/v1/sessions/{session}/turns", turn)
    await client.end(f"/v1/sessions/{session}")
    return len(talk)


def live_of_plain(window: int) -> Work:
    """Returns what sends a conversation turn by turn, each with those of its window."""

    async def work(client: Client, talk: Talk) -> int:
        for place in range(len(talk)):
            await client.ask("/last", {"turns": talk[max(0, place - window) : place + 1]})
        return len(talk)

    return work


async def _load(port: int, work: Work, talks: Iterator[Talk], clients: int) -> dict[str, float]:
    """Lets clients side by side do the work on all conversations; returns what they saw."""

    async def one() -> tuple[list[float], int]:
        turns = 0
        async with Client(port) as client:
            for talk in talks:  # which they share
                turns += await work(client, talk)
        return client.seconds, turns

    began = time.perf_counter()
    reports = await asyncio.gather(*(one() for _ in range(clients)))
    elapsed = time.perf_counter() - began
    seconds = np.array([second for report, _ in reports for second in report])
    return {
        "requests_per_second": len(seconds) / elapsed,
        "turns_per_second": sum(turns for _, turns in reports) / elapsed,
        "p50_ms": 1e3 * float(np.percentile(seconds, 50)),
        "p99_ms": 1e3 * float(np.percentile(seconds, 99)),
        "seconds": elapsed,
    }


def load(port: int, work: Work, talks: Sequence[Talk], clients: int) -> dict[str, float]:
    """As ``_load``, from outside of a loop."""
    return asyncio.run(_load(port, work, iter(talks), clients))


def talks_of(config: Config, count: int) -> list[Talk]:
    """Returns the turns of so many conversations of the test split, and again if need be."""
    split = protocol.load(config).splits["test"]
    talks = [[{"speaker": turn.speaker, "text": turn.text} for turn in one.turns] for one in split]
    return list(itertools.islice(itertools.cycle(talks), count))


def summarise(rounds: list[dict[str, float]], ours: list[dict[str, float]]) -> dict[str, Any]:
    """Returns the medians of the rounds, and how many times as many requests ours answers, round by round."""
    ratios = [own["requests_per_second"] / one["requests_per_second"] for own, one in zip(ours, rounds, strict=True)]
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]} | {
        "ours_is_faster_by": statistics.median(ratios),
        "ours_is_faster_by_range": [min(ratios), max(ratios)],
        "rounds": rounds,
    }


def watch_memory(service: contest.Contender, port: int, talks: Sequence[Talk], requests: int) -> dict[str, float]:
    """Returns the memory of our service in MB before and after so many requests, and what they saw."""
    short = [talk[:2] for talk in talks]
    load(port, whole, list(itertools.islice(itertools.cycle(short), min(500, requests))), _CLIENTS.value)
    before = service.run().figures[1]
    seen = load(port, whole, list(itertools.islice(itertools.cycle(short), requests)), _CLIENTS.value)
    after = service.run().figures[1]
    return {"requests": requests, "before_mb": before / 1e6, "after_mb": after / 1e6, **seen}


def compete(ports: dict[str, int], window: int, talks: Sequence[Talk]) -> dict[str, dict[str, Any]]:
    """Lets the services do both kinds of work in turns; returns what was seen of each, and prints it."""

    async def plainly(client: Client, talk: Talk) -> int:
        return await whole(client, talk, "/predict")

    works = {"whole": {contest.OURS: whole, PLAIN: plainly}, "live": {contest.OURS: live, PLAIN: live_of_plain(window)}}
    results = {}
    print(f"{'':<8}{'':<18}{'requests/s':>11}{'turns/s':>9}{'p50 ms':>8}{'p99 ms':>8}   ours is faster by")
    for kind, by_name in works.items():
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
        for number in range(-1, contest.rounds()):  # of which the first is not counted: it compiles
            for name in list(ports)[:: 1 if number % 2 == 0 else -1]:
                seen = load(ports[name], by_name[name], talks, _CLIENTS.value)
                if number >= 0:
                    rounds[name].append(seen)
        for name in ports:
            row = results[f"{kind}, {TITLES[name]}"] = summarise(rounds[name], rounds[contest.OURS])
            low, high = row["ours_is_faster_by_range"]
            print(
                f"{kind:<8}{TITLES[name]:<18}{row['requests_per_second']:>11.1f}{row['turns_per_second']:>9.1f}"
                f"{row['p50_ms']:>8.1f}{row['p99_ms']:>8.1f}   {row['ours_is_faster_by']:.2f} ({low:.2f} to {high:.2f})"
            )
    return results


def main() -> int:
    """Measures, prints and writes; returns the exit status."""
    config = command_line.load_config(_CONFIG)
    talks, load_before = talks_of(config, _CONVERSATIONS.value), os.getloadavg()[0]
    names = [contest.OURS, PLAIN] if _PEER.value else [contest.OURS]
    services = {name: contest.Contender(name, build, config) for name in names}
    for service in services.values():
        service.wait()
    ports = {name: int(service.run().figures[0]) for name, service in services.items()}
    results, memory = compete(ports, config.tokens.window, talks), {}
    if _REQUESTS.value:
        memory = watch_memory(services[contest.OURS], ports[contest.OURS], talks, _REQUESTS.value)
        print(f"memory {memory['before_mb']:.1f} MB, after {memory['requests']} requests {memory['after_mb']:.1f} MB")
    for service in services.values():
        service.end()
    about = {
        "config": config.name,
        "encoder": config.model.encoder.pretrained,
        "window": config.tokens.window,
        "intra_modal_layers": config.model.intra_modal.layers,
        "clients": _CLIENTS.value,
        "conversations": len(talks),
        "turns": sum(map(len, talks)),
        "load_of_the_machine": [load_before, os.getloadavg()[0]],
    }
    record.write(about | contest.machine(peers=_PEER.value) | {"results": results, "memory": memory})
    return 0


if __name__ == "__main__":
    command_line.run(main)
