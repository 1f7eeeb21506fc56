"""What turns read that begin early is what the shard's mail gives them once their tick opens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.draws import word_of, words
from populace.kernel.bus import Frame, Mail
from populace.kernel.early_mail import EarlyMail, Letter

SEED, TICK, AGENT = 11, 4, 7
IDS = st.integers(-1, 2**31 - 1)


def mail_of(letters: list[Letter], most: int) -> list[tuple[int, bytes]]:
    """The inbox of an agent as the shard puts it in order at a tick's opening."""
    rows = sorted(letters)
    offsets = np.cumsum([0, *(len(body) for *_, body in rows)])
    sender, nth = (np.array([row[at] for row in rows], np.int32) for at in range(2))
    receiver, body = np.full(len(rows), AGENT, np.int32), b"".join(body for *_, body in rows)
    inbox = Mail([Frame(TICK, 0, 0, 0, sender, receiver, nth, offsets, body)], most, SEED).inbox(AGENT)
    return inbox.packed() if len(inbox) else []  # type: ignore[attr-defined]


LETTERS = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 3)), unique=True, max_size=9)


@given(LETTERS, st.randoms(use_true_random=False), st.sampled_from([1, 3, 100]))
def test_an_early_inbox_is_the_inbox_of_the_open_tick(pairs: list[tuple[int, int]], mix: object, most: int) -> None:
    letters = [(sender, nth, b"%c" % (65 + at)) for at, (sender, nth) in enumerate(pairs)]
    mix.shuffle(letters)  # type: ignore[attr-defined]  # they come as turns end
    inbox = EarlyMail(SEED, most).inbox(TICK, AGENT, letters)
    packed = inbox.packed() if len(inbox) else []  # type: ignore[attr-defined]
    assert packed == mail_of(letters, most)


def test_another_seed_or_tick_is_another_order() -> None:
    letters = [(sender, 0, b"%c" % (65 + sender)) for sender in range(9)]
    for seed, tick in ((SEED + 1, TICK), (SEED, TICK + 1)):
        assert EarlyMail(seed, 100).inbox(tick, AGENT, letters).packed() != mail_of(letters, 100)  # type: ignore[attr-defined]


def test_an_early_inbox_reads_as_any_other() -> None:
    (one, two) = inbox = EarlyMail(SEED, 5).inbox(TICK, AGENT, [(3, 0, b"\x01"), (3, 1, b"\x02")])
    assert [(one.sender, one.tick, one.body), (two.sender, two.tick, two.body)] == [(3, TICK, 1), (3, TICK, 2)]
    assert (inbox[1].body, [message.body for message in inbox[:1]], len(inbox)) == (2, [1], 2)
    with pytest.raises(IndexError):
        inbox[2]


@given(st.integers(0, 2**63), st.integers(0, 2**31), st.text(max_size=5), IDS, IDS)
def test_one_word_is_that_of_the_column(seed: int, tick: int, purpose: str, one: int, other: int) -> None:
    column = words(seed, tick, purpose, np.array([one], np.int64), np.array([other], np.int64))
    assert word_of(seed, tick, purpose)(one, other) == int(column[0])
