"""How many messages a second go between two Ray actors and into inboxes, beside the ceilings of packing and of Ray.

Run it as `python benchmarks/bus.py [--batches 10000 100000] [--seconds S]`. It starts a Ray of its own (two CPUs).

Two actors stand for two shards. In a round the sender makes a tick's messages into columns, frames and an object in
Ray's store, exactly as a shard does at a tick's end; the receiver reads the frame, collates it into mail, and opens
every inbox, as a shard does at a tick's beginning. `one way`: one actor sends, then the other receives, so that at
most one core works. `both ways`: each sends half of the batch to the other at the same time, as in a run.

Bodies are `{"kind": "note", "value": 0.5}`. Unless a row says so, they are packed beforehand, as `ctx.send` has
done it by then. Rates are of wall time: the median of the rounds, and the best one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import ray
from figures import figure
from rich.console import Console
from rich.table import Table

from populace.kernel.bus import Mail, gather, route, unpack_frame

BODY = {"kind": "note", "value": 0.5}
AGENTS = 10_000
FRAME_BYTES = 2**28
WARM_ROUNDS = 3


class Shard:
    """Sends and receives as a shard does; the even agents live on shard 0, the odd ones on shard 1."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._turns: dict[int, list[tuple[int, list[int], list[bytes]]]] = {}
        self._rows: dict[int, list[tuple[int, int, int, Any]]] = {}
        self._blob = b""

    def prepare(self, messages: int) -> int:
        """Make turns that send this many messages to the other shard; the bytes of their frames."""
        rng = np.random.default_rng(self._index)
        senders = np.sort(rng.integers(0, AGENTS // 2, messages)) * 2 + self._index
        receivers = (rng.integers(0, AGENTS // 2, messages) * 2 + 1 - self._index).tolist()
        body = msgpack.packb(BODY)
        turns: dict[int, tuple[int, list[int], list[bytes]]] = {}
        rows = []
        for sender, receiver in zip(senders.tolist(), receivers, strict=True):
            _, to, bodies = turns.setdefault(sender, (sender, [], []))
            rows.append((sender, receiver, len(to), BODY))
            to.append(receiver)
            bodies.append(bytes(bytearray(body)))  # an object of its own, as after packing
        self._turns[messages] = list(turns.values())
        self._rows[messages] = rows
        self._blob = b"".join(self._frames(messages))
        return len(self._blob)

    def _frames(self, messages: int) -> list[bytes]:
        out = gather(0, self._turns[messages])
        frames = route(out, source=self._index, shards=2, attempt=0, frame_bytes=FRAME_BYTES)
        assert all(frame.destination == 1 - self._index for frame in frames)
        return [frame.pack() for frame in frames]

    def send(self, messages: int, pack_bodies: bool) -> list[Any]:
        """References to the frames of a tick; with `pack_bodies`, bodies are packed here."""
        if pack_bodies:
            pack = msgpack.Packer(autoreset=True).pack
            turns = self._turns[messages]
            self._turns[messages] = [(sender, to, [pack(BODY) for _ in to]) for sender, to, _ in turns]
        return [ray.put(frame) for frame in self._frames(messages)]

    def receive(self, decode: bool, *parcels: bytes) -> int:
        """Deliver frames into inboxes and open each; how many messages were found."""
        mail = Mail([unpack_frame(parcel, FRAME_BYTES * 2) for parcel in parcels], AGENTS)
        found = 0
        for agent in mail.receivers.tolist():
            inbox = mail.inbox(agent)
            if decode:
                for message in inbox:
                    assert message.body is not None
                    found += 1
            else:
                found += len(inbox)
        return found

    def send_blob(self) -> list[Any]:
        """As many bytes, and nothing else: a reference to them."""
        return [ray.put(self._blob)]

    def receive_blob(self, *parcels: bytes) -> int:
        """Their number."""
        return sum(map(len, parcels))

    def pack_rows(self, messages: int, unpack: bool) -> int:
        """Pack the messages as rows of (sender, receiver, nth, body); with `unpack`, read them again."""
        packed = msgpack.packb(self._rows[messages])
        return len(msgpack.unpackb(packed)) if unpack else messages


def rate(work: Callable[[], int], messages: int, seconds: float) -> tuple[float, float]:
    """Messages a second: the median of the rounds, and the best."""
    rates: list[float] = []
    warm, began_s = WARM_ROUNDS, time.perf_counter()
    while len(rates) < 5 or time.perf_counter() - began_s < seconds:
        start_s = time.perf_counter()
        work()
        spent_s = time.perf_counter() - start_s
        if warm:
            warm -= 1
        else:
            rates.append(messages / spent_s)
    return statistics.median(rates), max(rates)


def exchange(pairs: list[tuple[Any, Any]], send: Callable[[Any], Any], receive: Callable[[Any, list[Any]], Any]) -> int:
    """A round: every sender's parcels go to its receiver."""
    parcels = ray.get([send(sender) for sender, _ in pairs])
    return sum(ray.get([receive(receiver, list(sent)) for (_, receiver), sent in zip(pairs, parcels, strict=True)]))


def measure(shards: list[Any], batch: int, ways: int, seconds: float) -> Table:
    """Bus and ceilings for batches of this size."""
    each = batch // ways
    pairs = [(shards[0], shards[1]), (shards[1], shards[0])][:ways]
    frame_bytes = sum(ray.get([shard.prepare.remote(each) for shard, _ in pairs]))

    def bus(decode: bool, pack_bodies: bool) -> int:
        found = exchange(
            pairs,
            lambda shard: shard.send.remote(each, pack_bodies),
            lambda shard, parcels: shard.receive.remote(decode, *parcels),
        )
        assert found == each * ways
        return found

    def blob() -> int:
        return exchange(
            pairs,
            lambda shard: shard.send_blob.remote(),
            lambda shard, parcels: shard.receive_blob.remote(*parcels),
        )

    def rows(unpack: bool) -> int:
        return sum(ray.get([shard.pack_rows.remote(each, unpack) for shard, _ in pairs]))

    cases: list[tuple[str, Callable[[], int]]] = [
        ("bus, every inbox decoded", lambda: bus(True, False)),
        ("bus, inboxes not decoded", lambda: bus(False, False)),
        ("bus, bodies packed too, every inbox decoded", lambda: bus(True, True)),
        ("ceiling: pack as rows", lambda: rows(False)),
        ("ceiling: pack and unpack as rows", lambda: rows(True)),
        (f"ceiling: Ray carries {frame_bytes / 1e6:.1f} MB", blob),
    ]
    measured = [(name, *rate(work, batch, seconds)) for name, work in cases]
    first = measured[0][1]
    way = "one way" if ways == 1 else "both ways"
    table = Table("what", "M messages/s", "best", "of the first row", title=f"{batch:,} messages a round, {way}")
    for name, median, best in measured:
        figure(f"{name}, {way}", median / 1e6, "million messages/s", most=best / 1e6, least=median / 1e6)
        table.add_row(name, f"{median / 1e6:.2f}", f"{best / 1e6:.2f}", f"{median / first:.2f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row")
    options = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=2)
    try:
        actor = ray.remote(num_cpus=1)(Shard)
        shards = [actor.remote(index) for index in range(2)]
        for batch in options.batches:
            for ways in (1, 2):
                Console().print(measure(shards, batch, ways, options.seconds))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
