"""The outermost layer of the model stack: answers that are on record cost nothing, new ones are put on record first.

An answer is in the journal before its turn sees it, so a run that ends in any way can go on without paying for it
again. What is looked up is found by the ask's identity and must have its content key: an ask whose content changed is
another ask. Not put on record: what ended because the run ended or could not go on (`interrupted`, or any abstention
once the gateway has failed), since it says nothing about the model. Shell: files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

from populace.budget.amounts import NOTHING, PICO_USD, Amount
from populace.core.draws import WORLD
from populace.core.errors import StorageError
from populace.core.records import Answer, Ask, Counts, Position
from populace.core.traffic import Traffic
from populace.kernel.snapshot import Past
from populace.models.protocol import Deliver, Fence, Gateway, Pressure
from populace.store.journal.index import JournalIndex
from populace.store.journal.read import Report, read_journal
from populace.store.journal.write import SEGMENT_BYTES, Journal
from populace.store.remote.mirror import REMOTE_SEGMENT_BYTES, is_remote, own_journal, past_journal


class OpenPast(msgspec.Struct, frozen=True):
    """A journal's answers, whether they are the run's own, and where each of its attempts was begun and ended."""

    index: JournalIndex
    own: bool
    since: list[Position] = []
    ends: list[Position] = []


_Batch: TypeAlias = "tuple[list[tuple[bytes, Answer]], Sequence[Answer], Deliver]"


class Missed(msgspec.Struct, frozen=True):
    """An ask that a replay found no answer to: `recorded` is the content key on record under its identity, or None."""

    ask: Ask
    recorded: bytes | None


def open_pasts(pasts: Sequence[Past]) -> list[OpenPast]:
    """Read these journals. Raises StorageError, JournalDamaged."""
    opened = []
    for one in pasts:
        report = Report()
        read = read_journal(
            past_journal(one.folder), run=one.run, since=one.since, before=one.before, report=report,
            salvage=one.salvaged,
        )  # fmt: skip
        opened.append(OpenPast(JournalIndex(read), one.own, one.since, list(report.ends.values())))
    return opened


def on_record(pasts: Sequence[OpenPast]) -> dict[int, int]:
    """How many of a run's own answers are in these journals, by tick."""
    return {tick: n for past in pasts if past.own for tick, n in past.index.per_tick().items()}


def join_positions(shards: Iterable[Sequence[Position]]) -> list[Position]:
    """What all shards agree upon: each one's own position, and of a former attempt the earliest that any gives.

    One may have read a former attempt when another had not ended it yet, so that it knows less of it.
    """
    given = [positions for positions in shards if positions]
    formers = [{(at.attempt, at.shard): at for at in former} for _, *former in given]
    known = set.intersection(*(set(former) for former in formers)) if formers else set()
    earliest = [min((former[key] for former in formers), key=msgspec.structs.astuple) for key in sorted(known)]
    return [*earliest, *(own for own, *_ in given)]


def open_journal(place: str, *, run: str, shard: int, attempt: int, policy: Literal["process", "machine"]) -> Journal:
    """A new journal for a shard of a run whose journals are at `place`. Raises StorageError."""
    segment_bytes = REMOTE_SEGMENT_BYTES if is_remote(place) else SEGMENT_BYTES
    return Journal(
        own_journal(place), run=run, shard=shard, attempt=attempt, policy=policy, segment_bytes=segment_bytes
    )


_FENCED_S = 0.1
"""How often asks that are kept back look whether they may be put."""


class Recording:
    """A gateway that looks asks up in `pasts` and puts what `inner` answers into `journal`.

    Without `inner` it is a replay: an ask that is not on record abstains as 'unrecorded', and stands in `missed`.
    Without `journal` nothing is put on record. While `fence` says no, what is not on record waits.
    """

    def __init__(
        self,
        inner: Gateway | None,
        journal: Journal | None,
        pasts: Sequence[OpenPast] = (),
        fence: Fence | None = None,
    ) -> None:
        self.inner = inner
        self._fence = fence
        self._held: list[tuple[Sequence[Ask], Deliver]] = []
        self._holding: asyncio.Task[None] | None = None
        self.journal = journal
        self.missed: list[Missed] = []
        self._saved = (0, 0.0)
        self._pasts = pasts
        self._failure: Exception | None = None
        self._queue: list[_Batch] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._open = False
        self._marks: dict[int, Position] = {}
        self._unrecorded = Counts()
        self._asked_by_world: tuple[int, Counter[bytes]] = (-1, Counter())

    async def open(self) -> None:
        """Open what is inside; with the journal's policy `machine`, begin to sync in a thread."""
        if self.inner is not None:
            await self.inner.open()
        self._open = True
        if self.journal is not None and self.journal.policy == "machine":
            self._task = asyncio.get_running_loop().create_task(self._sync(self.journal), name="populace journal")

    @property
    def failure(self) -> Exception | None:
        """Why no further ask can succeed: the inner gateway's reason, or that the journal cannot be written."""
        return self._failure or (self.inner.failure if self.inner is not None else None)

    def pressure(self) -> Pressure:
        """What is inside; answers that wait for the disk count as waiting."""
        held = sum(len(asks) for asks, _ in self._held)
        pressure = Pressure(waiting=sum(len(batch[1]) for batch in self._queue) + held)
        if self.journal is not None:
            pressure.traffic = Traffic(journal_bytes=self.journal.written_bytes)
        if self.inner is not None:
            pressure.add(self.inner.pressure())
        return pressure

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        """Answer from the record, and pass on what is not in it."""
        if not self._pasts:
            self._pass_on(asks, deliver)
            return
        known: list[Answer] = []
        copied: list[tuple[bytes, Answer]] = []
        unknown: list[Ask] = []
        for ask in asks:
            answer, own = self._find(ask)
            if answer is None:
                unknown.append(ask)
                continue
            known.append(answer)
            if not own:
                copied.append((ask.key, answer))
        if known:
            if copied and self.journal is not None:
                self._put_down(copied, known, deliver)
            else:
                deliver(known)
        if unknown:
            self._pass_on(unknown, deliver)

    def take_saved(self) -> tuple[int, float]:
        """Calls, and US dollars, that another run had paid for what was replayed since the last time."""
        saved, self._saved = self._saved, (0, 0.0)
        return saved

    def take_unrecorded(self) -> Counts:
        """What calls cost whose answers were not put on record, since the last time: nobody finds them there."""
        spent, self._unrecorded = self._unrecorded, Counts()
        return spent

    def mark(self, tick: int, *, early: bool = False) -> None:
        """Note where the journal stands as `tick` is about to begin, or `early`, as the first turn of it is."""
        if self.journal is None:
            return
        if not early:
            self._marks = {at: position for at, position in self._marks.items() if at >= tick}
        self._marks.setdefault(tick, self.journal.position)

    def positions(self, tick: int) -> list[Position]:
        """Up to where the journal and then those of former attempts are behind a checkpoint, which waits for `sync`.

        The checkpoint stands before `tick`; what has been put on record since then comes after it.

        Of a former attempt that is all of it once the run stands before a `tick` that it knows no answer of; until
        then, what it was read from.
        """
        if self.journal is None:
            return []
        later = [one for one in self._marks if one >= tick]
        found = [self._marks[min(later)] if later else self.journal.position]
        for past in self._pasts:
            if past.own:
                found += past.ends if max(past.index.ticks(), default=-1) < tick else past.since
        return found

    def sync(self) -> None:
        """Put what is on record on the disk; may be called in a thread. Raises StorageError."""
        if self.journal is not None:
            self.journal.sync()

    def wind_down(self) -> None:
        """Ask nothing further; what is in flight may end, and is put on record."""
        self._fence = None
        held, self._held = self._held, []
        for asks, deliver in held:
            deliver([Answer(ask.agent, ask.tick, ask.nth, "abstained", reason="interrupted") for ask in asks])
        if self.inner is not None:
            self.inner.wind_down()

    def abort(self) -> None:
        """Break off what is in flight; what it may cost is not on record (`take_unrecorded`)."""
        if self.inner is not None:
            self.inner.abort()
        self._flush()

    async def close(self) -> None:
        """Close what is inside, put down what it still answers, close the journal."""
        self._open = False
        if self._holding is not None:
            self._holding.cancel()
        if self.inner is not None:
            await self.inner.close()
        self._wake.set()
        self._flush()
        if self._task is not None:
            await self._task
        for past in self._pasts:
            past.index.close()
        if self.journal is not None:
            self.journal.close()

    def _count_alike(self, ask: Ask) -> int:
        """How many asks of this content the world has asked before in the tick."""
        if self._asked_by_world[0] != ask.tick:
            self._asked_by_world = ask.tick, Counter()
        at = self._asked_by_world[1][ask.key]
        self._asked_by_world[1][ask.key] += 1
        return at

    def _find(self, ask: Ask) -> tuple[Answer | None, bool]:
        """The answer on record, and whether it is the run's own.

        In the record of another run, what the world asks is found by its content, in the order of those alike: where a
        moderator has one post less to judge, the others are the same asks with other numbers.
        """
        at = self._count_alike(ask) if ask.agent == WORLD else 0
        for past in self._pasts:
            if ask.agent == WORLD and not past.own:
                found = past.index.find_alike(WORLD, ask.tick, ask.key, at)
            else:
                found = past.index.find(ask.agent, ask.tick, ask.nth)
            if found is not None and found.key == ask.key:
                answer = found.answer
                if past.own:
                    return answer, True
                calls = answer.calls or int(answer.settled == "replayed")  # it cost its own past something
                self._saved = (self._saved[0] + calls, self._saved[1] + answer.cost_usd)
                return taken_over(answer, ask.nth), False
        return None, False

    def _pass_on(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        if self.inner is None:
            for ask in asks:
                found = [past.index.find(ask.agent, ask.tick, ask.nth) for past in self._pasts]
                self.missed.append(Missed(ask, next((one.key for one in found if one is not None), None)))
            deliver([Answer(ask.agent, ask.tick, ask.nth, "abstained", reason="unrecorded") for ask in asks])
            return
        if self._fence is not None and (self._held or not self._fence()):
            self._held.append((asks, deliver))
            if self._holding is None or self._holding.done():
                self._holding = asyncio.get_running_loop().create_task(self._hold(self._fence), name="populace fence")
            return
        self._put_to(self.inner, asks, deliver)

    async def _hold(self, fence: Fence) -> None:
        """Keep asks back until a call may be begun again."""
        while self._held:
            if not fence():
                await asyncio.sleep(_FENCED_S)
                continue
            asks, deliver = self._held.pop(0)
            assert self.inner is not None
            self._put_to(self.inner, asks, deliver)

    def _put_to(self, inner: Gateway, asks: Sequence[Ask], deliver: Deliver) -> None:
        if self.journal is None:
            inner.offer(asks, deliver)
            return
        known: dict[tuple[int, int], Ask] = {}
        inner.offer(asks, lambda answers: self._arrived(answers, asks, known, deliver))

    def _arrived(
        self, answers: Sequence[Answer], asks: Sequence[Ask], known: dict[tuple[int, int], Ask], deliver: Deliver
    ) -> None:
        """Put answers on record that came for some of `asks`; `known` has these by name once they are looked up."""
        ending = not self._open or self.failure is not None
        together = len(answers) == len(asks)
        records = []
        for at, answer in enumerate(answers):
            ask = asks[at if together else 0]
            if ask.agent != answer.agent or ask.nth != answer.nth:
                if not known:
                    known.update({(one.agent, one.nth): one for one in asks})
                ask = known[answer.agent, answer.nth]
            answer.model_role = ask.model_role
            if answer.settled != "abstained" or not (ending or answer.reason == "interrupted"):
                answer.purpose = ask.purpose
                records.append((ask.key, answer))
            elif answer.calls:
                self._unrecorded.bill(answer, ask.purpose)
        if records:
            self._put_down(records, answers, deliver)
        else:
            deliver(answers)

    def _put_down(self, records: list[tuple[bytes, Answer]], answers: Sequence[Answer], deliver: Deliver) -> None:
        self._queue.append((records, answers, deliver))
        if self._task is not None:
            self._wake.set()
        elif len(self._queue) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Put what has come since the event loop went round on record with one write, and hand it on.

        With the policy `machine` a thread does, which syncs.
        """
        if self._task is not None or not self._queue:
            return
        assert self.journal is not None
        batches, self._queue = self._queue, []
        try:
            _write(self.journal, [pair for batch in batches for pair in batch[0]])
        except StorageError as error:
            self._fail(error)
        for _, answers, deliver in batches:
            deliver(answers)

    async def _sync(self, journal: Journal) -> None:
        """Put batches on the disk; what arrives while one is written goes with the next."""
        while self._open or self._queue:
            await self._wake.wait()
            self._wake.clear()
            batches, self._queue = self._queue, []
            if not batches:
                continue
            try:
                await asyncio.to_thread(_write, journal, [pair for batch in batches for pair in batch[0]])
            except StorageError as error:
                self._fail(error)
            for _, answers, deliver in batches:
                deliver(answers)

    def _fail(self, error: StorageError) -> None:
        """The journal cannot be written. Whoever takes the answers finds the failure before it uses them.

        No new call begins, since its answer could not be kept.
        """
        if self._failure is None:
            self._failure = error
            if self.inner is not None:
                self.inner.wind_down()


def taken_over(answer: Answer, nth: int | None = None) -> Answer:
    """An answer of another run as it counts in this one: replayed, at no cost; as this run's ask number `nth`."""
    return Answer(
        answer.agent,
        answer.tick,
        answer.nth if nth is None else nth,
        "abstained" if answer.settled == "abstained" else "replayed",
        answer.text,
        answer.reason,
        answer.detail,
        reasoning=answer.reasoning,
        cut=answer.cut,
        reading=answer.reading,
        left_out=answer.left_out,
    )


def _write(journal: Journal, records: list[tuple[bytes, Answer]]) -> None:
    journal.append(records)
    journal.commit()


def spent_in(past: Past, tick: int) -> Amount:
    """What the answers in a journal cost that were given in `tick` and later. Raises StorageError."""
    spent = NOTHING
    for answer in _answers_from(past, tick):
        spent += cost_of(answer)
    return spent


def billed_in(past: Past, tick: int) -> Counts:
    """What the calls behind these answers were billed, by purpose where the journal tells. Raises StorageError."""
    billed = Counts()
    for answer in _answers_from(past, tick):
        billed.bill(answer, answer.purpose)
    billed.purposes.pop("", None)
    return billed.spend()


def _answers_from(past: Past, tick: int) -> Iterator[Answer]:
    folder = past_journal(past.folder)
    for one in read_journal(folder, run=past.run, since=past.since, before=past.before, salvage=past.salvaged):
        if one.answer.tick >= tick:
            yield one.answer


def cost_of(counted: Answer | Counts) -> Amount:
    """What an answer, or a run, has cost."""
    return Amount(counted.tokens_in + counted.tokens_out, round(counted.cost_usd * PICO_USD))
