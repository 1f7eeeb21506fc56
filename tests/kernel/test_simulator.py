"""The run's protocol under faults: the undisturbed result, or a clean failure that was earned; with controls.

Messages are delayed, doubled (5 %), reordered (5 %) and dropped (1 %), and whoever takes part crashes at any step of
the protocol. A seed says all that goes wrong: `judge(faults_of(seed))` plays it again. The long run:
`pytest -m chaos tests/test_simulator.py -s`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from support.long import LONG, cases
from support.simulator import driver, hosts, society
from support.simulator.messages import Disk
from support.simulator.runs import faults_of, judge, undisturbed
from support.simulator.universe import Faults
from support.turns_ahead import noted_ahead

from populace.core.errors import PopulaceError
from populace.interventions.at_work import Levers
from populace.kernel import environment, shard
from populace.kernel.ahead import Ahead
from populace.kernel.bus import Frame
from populace.kernel.columnar_tick import ColumnarTick
from populace.kernel.notices import Heard
from populace.kernel.rounds import Rounds
from populace.kernel.sharing import Sharing
from populace.kernel.snapshot import ShardState

LONG_SEEDS = 10_000


def outcomes(every: Iterable[Faults], seen: Counter[str] | None = None) -> Counter[str]:
    return Counter(judge(faults, seen) for faults in every)


def wrong(seeds: Iterable[int]) -> int:
    """How many of these seeds fail."""
    n = 0
    for seed in seeds:
        try:
            judge(faults_of(seed))
        except (AssertionError, PopulaceError):
            n += 1
    return n


def test_undisturbed_the_simulated_run_is_one_run_on_any_number_of_shards() -> None:
    base = undisturbed()
    assert base.total.imbalance() == []
    for shards in (1, 2, 5):
        other = undisturbed(shards)
        assert (other.hashes, other.total, other.calls) == (base.hashes, base.total, base.calls)
    did = base.total
    assert min(did.turns_failed, did.delivered, did.expired, did.applied, did.answered, did.abstained["refusal"]) > 0


def test_delays_doubles_and_disorder_alone_lose_nobody() -> None:
    every = (Faults(seed, doubled=0.4, reordered=0.4) for seed in range(40))
    assert set(outcomes(every)) == {"same hash, nobody lost"}


def test_seeds_of_everything_that_goes_wrong() -> None:
    seeds = cases(300, 100)
    ended = outcomes(map(faults_of, range(seeds)))
    assert ended["same hash, nobody lost"] > seeds / 10
    assert ended["same hash after 2 recoveries"] > seeds / 30
    assert ended.total() == seeds


def test_a_crash_at_any_step_of_the_protocol() -> None:
    """Some steps; the long run takes them all."""
    steps = range(1, undisturbed().steps + 1, 5 if LONG else 11)
    ended = outcomes(Faults(crashes=frozenset({step}), zombies=0.5, seed=step) for step in steps)
    assert set(ended) <= {"same hash, nobody lost", "same hash after 1 recoveries"}
    assert ended["same hash after 1 recoveries"] > len(steps) / 2


@pytest.fixture
def levers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(society, "LEVERS", society.pulled())
    undisturbed.cache_clear()
    yield
    undisturbed.cache_clear()


def test_seeds_with_levers_and_their_control(monkeypatch: pytest.MonkeyPatch, levers: None) -> None:
    """What levers do follows from the tick alone, so it survives losses; one that remembers that it acted does not."""
    did = undisturbed().total
    assert did.refused["blocked"] > 0
    assert undisturbed(1).hashes == undisturbed(5).hashes
    ended = outcomes(map(faults_of, range(cases(60, 25))))
    assert ended["same hash after 1 recoveries"] > 2
    mail = Levers.mail
    done: set[tuple[int, int]] = set()

    def once(self: Levers, tick: int, index: int, shards: int) -> list[Any]:
        first = (tick, index) not in done
        done.add((tick, index))
        return mail(self, tick, index, shards) if first else []

    monkeypatch.setattr(Levers, "mail", once)
    failed = 0
    for seed in range(60):
        done.clear()
        failed += wrong([seed])
    assert failed > 5


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Members hear of those beside them alone, and begin turns early: by how many ticks, each."""
    monkeypatch.setattr(society, "NEARBY", True)
    undisturbed.cache_clear()
    barrier = undisturbed(1)
    monkeypatch.setattr(society, "AHEAD", 3)
    undisturbed.cache_clear()
    base = undisturbed()
    assert (base.hashes, base.total) == (barrier.hashes, barrier.total)
    yield noted_ahead(monkeypatch)
    undisturbed.cache_clear()


def test_seeds_of_turns_out_of_order(ahead: list[int]) -> None:
    """Notices are lost, doubled and late as all else, and whoever crashes had turns of several ticks open."""
    assert undisturbed(1).hashes == undisturbed(5).hashes
    ahead.clear()
    seeds = cases(300, 60)
    ended = outcomes(map(faults_of, range(seeds)))
    assert ended["same hash, nobody lost"] > seeds / 10
    assert ended["same hash after 2 recoveries"] > seeds / 30
    assert ended.total() == seeds
    assert len(ahead) > 20 * seeds
    assert max(ahead) >= 2


def test_control_turns_out_of_order_that_wait_for_one_too_few(
    monkeypatch: pytest.MonkeyPatch, ahead: list[int]
) -> None:
    init = Ahead.__init__

    def hasty(self: Ahead, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._needs[self._needs > 1] -= 1

    monkeypatch.setattr(Ahead, "__init__", hasty)
    assert wrong(range(20)) > 10


def test_control_notices_that_count_each_time_they_come(monkeypatch: pytest.MonkeyPatch, ahead: list[int]) -> None:
    monkeypatch.setattr(Heard, "new", lambda _self, notices: notices)
    assert wrong(range(40)) > 0


@pytest.fixture
def crowd_ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The same beside a crowd in columns, and with asks by archetype: in how many ticks the crowd began early."""
    monkeypatch.setattr(society, "NEARBY", True)
    monkeypatch.setattr(society, "CROWDED", True)
    undisturbed.cache_clear()
    barrier = undisturbed(1)
    assert min(barrier.total.purposes["crowd"].asks, barrier.total.purposes["together"].asks) > 5
    monkeypatch.setattr(society, "AHEAD", 3)
    undisturbed.cache_clear()
    base = undisturbed()
    assert (base.hashes, base.total, base.asked) == (barrier.hashes, barrier.total, barrier.asked)
    found: list[int] = []
    begin = ColumnarTick.begin_early

    def noting(self: ColumnarTick, *args: Any) -> Any:
        found.append(self._scope.tick)
        return begin(self, *args)

    monkeypatch.setattr(ColumnarTick, "begin_early", noting)
    yield found
    undisturbed.cache_clear()


def test_seeds_of_turns_out_of_order_beside_agents_in_columns_and_of_those_who_ask_together(
    crowd_ahead: list[int],
) -> None:
    assert undisturbed(1).hashes == undisturbed(5).hashes
    crowd_ahead.clear()
    seeds = cases(300, 40)
    ended = outcomes(map(faults_of, range(seeds)))
    assert ended["same hash, nobody lost"] > seeds / 10
    assert ended["same hash after 2 recoveries"] > seeds / 40
    assert len(crowd_ahead) > 2 * seeds


@pytest.mark.parametrize("broken", ["what a crowd waits for", "who waits for a crowd", "whose tick an ask is of"])
def test_control_turns_out_of_order_beside_agents_in_columns(
    monkeypatch: pytest.MonkeyPatch, crowd_ahead: list[int], broken: str
) -> None:
    init, sharing = Ahead.__init__, environment.Environment._sharing_of

    def hasty(self: Ahead, units: Any, *args: Any, **options: Any) -> None:
        init(self, units, *args, **options)
        if broken == "what a crowd waits for":
            self._needs[units.agents :] -= self._needs[units.agents :] > 1
        else:
            waits = np.unique(units.of[[of for of, by in society.CROWD_TIES if by >= units.agents - society.CROWD]])
            self._needs[waits] -= 1

    if broken == "whose tick an ask is of":
        monkeypatch.setattr(environment.Environment, "_sharing_of", lambda self, _, attempt: sharing(self, 0, attempt))
    else:
        monkeypatch.setattr(Ahead, "__init__", hasty)
    assert wrong(range(20)) > 10


@pytest.fixture
def talking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(society, "TALKING", True)
    undisturbed.cache_clear()
    yield
    undisturbed.cache_clear()


def test_seeds_with_rounds_and_asks_by_the_world(talking: None) -> None:
    """Members wait for one another within a tick, over all shards, and the world for its answers as the tick ends."""
    base = undisturbed()
    assert min(base.total.rounds, base.total.unheard["limit"], base.total.purposes["judge"].asks) > 10
    assert undisturbed(1).hashes == undisturbed(5).hashes == base.hashes
    ended = outcomes(map(faults_of, range(cases(60, 14))))
    assert ended["same hash, nobody lost"] > 1
    assert ended.total() - ended["same hash, nobody lost"] > 2


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch, talking: None) -> None:
    monkeypatch.setattr(society, "CROWDED", True)
    undisturbed.cache_clear()


def test_seeds_with_agents_in_columns_and_with_turns_that_ask_by_archetype(crowded: None) -> None:
    """One shard asks for the agents of all, and tells; the others hear of it, whatever is late, doubled or lost."""
    base = undisturbed()
    assert base.total.purposes["crowd"].asks >= 15
    assert base.total.purposes["together"].asks >= 10
    for shards in (1, 5):
        assert (undisturbed(shards).hashes, undisturbed(shards).asked) == (base.hashes, base.asked)
    ended = outcomes(map(faults_of, range(cases(60, 20))))
    assert ended["same hash, nobody lost"] > 1
    assert ended.total() - ended["same hash, nobody lost"] > 2


def test_control_an_archetype_that_every_shard_asks_is_paid_for_twice(
    crowded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, claim = undisturbed(), Sharing.claim

    def each(self: Sharing, shard: int, claims: Any) -> Any:
        claim(self, shard, claims)
        return [(one.agent, one.nth) for one in claims]

    monkeypatch.setattr(Sharing, "claim", each)
    undisturbed.cache_clear()
    assert undisturbed(5).total.asked > base.total.asked


def test_control_calls_that_are_served_twice_lose_what_was_heard(
    talking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What members have heard is told once: a call that comes twice has to be served once, as transports do."""
    every = [Faults(seed, doubled=0.5, reordered=0.3) for seed in range(4)]
    assert set(outcomes(every)) == {"same hash, nobody lost"}
    monkeypatch.setattr(hosts.WorldProcess, "KEPT", False)
    with pytest.raises((AssertionError, PopulaceError)):
        outcomes(every)


def test_control_rounds_that_end_before_all_have_spoken_are_another_run(
    talking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend = Rounds.attend

    def hasty(self: Rounds, shard: int, due: Any) -> Any:
        mine = attend(self, shard, due)
        for group in self._groups:
            group.present = set(list(group.present)[: 1 + shard])
        return mine

    monkeypatch.setattr(Rounds, "attend", hasty)
    with pytest.raises((AssertionError, PopulaceError)):
        assert undisturbed(1).hashes == undisturbed(5).hashes


def test_a_participant_that_keeps_crashing_ends_the_run_with_a_name() -> None:
    for role in ("shard 0", "the world"):
        assert judge(Faults(cursed=role)) == "clean failure: ActorLost"


def test_control_without_deduplication_seeds_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubles_too(frames: list[Frame], tick: int, attempt: int) -> list[Frame]:
        return [frame for frame in frames if frame.tick == tick and frame.attempt == attempt]

    for module in (shard, environment, hosts):
        monkeypatch.setattr(module, "distinct", doubles_too)
    assert wrong(range(40)) > 5


def test_control_without_deduplication_and_counts_the_books_do_not_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubles_too(frames: list[Frame], tick: int, attempt: int) -> list[Frame]:
        return [frame for frame in frames if frame.tick == tick and frame.attempt == attempt]

    for module in (shard, environment):
        monkeypatch.setattr(module, "distinct", doubles_too)
        monkeypatch.setattr(module, "check_complete", lambda *_: None)
    failures = []
    for seed in range(20):
        try:
            judge(Faults(seed, doubled=0.3))
        except (AssertionError, PopulaceError) as error:
            failures.append(str(error))
    assert any("the books do not balance" in failure for failure in failures)


def test_control_where_lives_are_not_told_apart_seeds_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "next_attempt", lambda _: 0)
    assert wrong(range(120)) > 0


def test_control_without_the_count_of_messages_seeds_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (shard, environment):
        monkeypatch.setattr(module, "check_complete", lambda *_: None)
    assert wrong(range(40)) > 5


def test_control_without_the_journal_the_model_is_paid_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict):
        def __setitem__(self, key, value):
            pass

    began = Disk.__init__

    def forgetting(self: Disk) -> None:
        began(self)
        self.journal = Forgetful()

    monkeypatch.setattr(Disk, "__init__", forgetting)
    with pytest.raises(AssertionError, match="paid twice"):
        outcomes(map(faults_of, range(40)))


def test_control_without_checkpoints_of_the_whole_state_seeds_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers are forgotten at a checkpoint."""
    join = driver.join_shards

    def forgetting(parts: list[ShardState]) -> tuple[Any, ...]:
        agents, ticks, ids = join(parts)
        return agents, ticks[:0], ids[:0]

    monkeypatch.setattr(driver, "join_shards", forgetting)
    assert wrong(range(40)) > 5


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_ten_thousand_seeds() -> None:
    seen: Counter[str] = Counter()
    ended = outcomes(map(faults_of, range(LONG_SEEDS)), seen)
    print(f"\n{LONG_SEEDS} seeds:")
    for table in (ended, seen):
        print("\n".join(f"{n:>9}  {what}" for what, n in sorted(table.items(), key=lambda row: -row[1])), end="\n\n")


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_two_thousand_seeds_with_a_columnar_type_that_asks(crowded: None) -> None:
    print(f"\n{outcomes(map(faults_of, range(2_000)))}")


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_two_thousand_seeds_with_rounds_and_asks_by_the_world(talking: None) -> None:
    print(f"\n{outcomes(map(faults_of, range(2_000)))}")


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_crash_at_every_step_of_the_protocol() -> None:
    every = (
        Faults(crashes=frozenset({step}), zombies=zombies, seed=step)
        for step in range(1, undisturbed().steps + 1)
        for zombies in (0.0, 1.0)
    )
    print(f"\n{outcomes(every)}")
