"""The cache layer: asks that were answered before take no permit, and identical asks in flight share one call.

It stands outside the client and its limits. The file is read and written in a thread in batches: while one runs,
the next gathers. An answer is delivered once it is kept, and what is delivered is what stands in the file, so that
agents that share content share the answer even when two processes asked at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from populace.core.errors import PopulaceError
from populace.core.records import Answer, Ask
from populace.core.traffic import Traffic
from populace.models.cache.answers import Cache, InFlight, Kept
from populace.models.cache.keys import Mode, cache_key
from populace.models.protocol import Deliver, Gateway, Pressure

_Waiter: TypeAlias = tuple[Ask, Deliver]


class Cached:
    """A gateway that looks answers up before it asks `inner`. Without a `cache` it only joins identical asks."""

    def __init__(self, inner: Gateway, *, mode: Mode, seed: int, cache: Cache | None) -> None:
        self.inner = inner
        self._mode = mode
        self._seed = seed
        self._cache = cache
        self._joined: InFlight[tuple[int, int, int]] = InFlight()
        self._waiters: dict[tuple[int, int, int], _Waiter] = {}
        self._asked: list[tuple[bytes, Ask]] = []
        self._answered: list[tuple[bytes, Answer]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._open = False
        self._traffic = Traffic()

    async def open(self) -> None:
        """Open what is inside, then begin."""
        await self.inner.open()
        self._open = True
        if self._cache is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(self._cache), name="populace cache")

    @property
    def failure(self) -> Exception | None:
        """Why no further ask can succeed: the inner gateway's reason, or that the cache cannot be used."""
        return self.inner.failure or self._failure

    def pressure(self) -> Pressure:
        """What waits here and inside; an ask that joined another counts as waiting."""
        pressure = Pressure(traffic=self._traffic)
        pressure.add(self.inner.pressure())
        pressure.waiting = max(pressure.waiting, len(self._waiters) - pressure.in_flight)
        return pressure

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        """Join, look up, or pass on."""
        if self.failure is not None or not self._open:
            self.inner.offer(asks, deliver)
            return
        lead: list[Ask] = []
        if self._cache is None and self._mode == "own":
            # Each ask has its own sample, and nothing is kept: embeddings alone can be shared.
            plain = [ask for ask in asks if ask.spec.kind != "embedding"]
            asks = [ask for ask in asks if ask.spec.kind == "embedding"] if len(plain) < len(asks) else ()
            if plain:
                self.inner.offer(plain, deliver)
        for ask in asks:
            key = cache_key(self._mode, self._seed, ask)
            assert key is not None, "a gateway with its cache off has no cache layer"
            name = (ask.agent, ask.tick, ask.nth)
            self._waiters[name] = (ask, deliver)
            if self._joined.join(key, name):
                if self._cache is None:
                    lead.append(ask)
                else:
                    self._asked.append((key, ask))
            else:
                self._traffic.joined += 1
        if lead:
            self.inner.offer(lead, self._settle)
        if self._asked:
            self._wake.set()

    def wind_down(self) -> None:
        """Ask nothing further; what is in flight inside is still kept."""
        self.inner.wind_down()

    def abort(self) -> None:
        """Break off what is in flight inside."""
        self.inner.abort()

    async def close(self) -> None:
        """Close what is inside, keep what was paid for; asks still open are delivered as abstained('interrupted')."""
        self._open = False
        await self.inner.close()
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._cache is not None:
            self._cache.close()
        self._end_all("interrupted", "")

    async def _run(self, cache: Cache) -> None:
        try:
            while self._open or self._answered:
                await self._wake.wait()
                self._wake.clear()
                if self._asked and self._open:
                    await self._look_up(cache, *_split(self._asked))
                if self._answered:
                    await self._keep(cache)
        except PopulaceError as error:
            self._failure = error
            self._end_all("error", str(error))

    async def _look_up(self, cache: Cache, keys: list[bytes], asks: list[Ask]) -> None:
        found = await asyncio.to_thread(cache.get, keys)
        misses = []
        for key, ask in zip(keys, asks, strict=True):
            kept = found.get(key)
            if kept is None:
                misses.append(ask)
            else:
                self._deliver(key, kept.text, None)
        if misses and self._open:
            self.inner.offer(misses, self._settle)

    async def _keep(self, cache: Cache) -> None:
        batch, self._answered = self._answered, []
        kept = await asyncio.to_thread(cache.put, {key: _kept(answer) for key, answer in batch})
        for key, answer in batch:
            self._deliver(key, kept[key].text, answer)

    def _settle(self, answers: Sequence[Answer]) -> None:
        """Answers come from inside: keep them, then deliver; what abstained is delivered and not kept."""
        for answer in answers:
            waiter = self._waiters.get((answer.agent, answer.tick, answer.nth))
            if waiter is None:  # the cache failed meanwhile, and everything open has abstained
                continue
            key = cache_key(self._mode, self._seed, waiter[0])
            assert key is not None
            if answer.settled == "answered" and self._cache is not None:
                self._answered.append((key, answer))
                self._wake.set()
            else:
                self._deliver(key, answer.text, answer)

    def _deliver(self, key: bytes, text: str, answer: Answer | None) -> None:
        """Deliver to all who wait for a key. The one who made the call is billed for it; the others are cached."""
        for name in self._joined.settle(key):
            _, deliver = self._waiters.pop(name)
            if answer is not None and name == (answer.agent, answer.tick, answer.nth):
                answer.text = text
                deliver([answer])
            elif answer is not None and answer.settled == "abstained":
                deliver([Answer(*name, "abstained", reason=answer.reason, detail=answer.detail)])
            else:
                deliver([Answer(*name, "cached", text)])

    def _end_all(self, reason: str, detail: str) -> None:
        waiters, self._waiters = self._waiters, {}
        self._joined = InFlight()
        self._asked.clear()
        for (agent, tick, nth), (_, deliver) in waiters.items():
            deliver([Answer(agent, tick, nth, "abstained", reason=reason, detail=detail)])


def _kept(answer: Answer) -> Kept:
    return Kept(answer.text, answer.tokens_in, answer.tokens_out)


def _split(pairs: list[tuple[bytes, Ask]]) -> tuple[list[bytes], list[Ask]]:
    keys, asks = [key for key, _ in pairs], [ask for _, ask in pairs]
    pairs.clear()
    return keys, asks
