"""The order in which what was sent in a tick takes effect: places in an inbox, reading, and actions on a part.

In a run of trace version 2 the order is fair: senders stand in the order of a number that each of them draws anew for
every tick and every receiver or part, and what one sender sent in the order in which it was sent. So no id has the
better place, and the order of some messages is the same whichever others there are. What the world itself sends (its
parts' messages and levers', sender -1) stands first, in the order in which it was sent: it competes with nobody.

In a run of version 1 the order is (sender, nth).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import WORLD, Draws, word_of, words
from populace.core.union import union

_PURPOSE: Final = "populace.order"
_MANY: Final = 1000

Int32 = NDArray[np.int32]
Places = NDArray[np.intp]


def total_order(receiver: Int32, sender: Int32, nth: Int32) -> Places:
    """The permutation that sorts by (receiver, sender, nth); equal to `np.lexsort((nth, sender, receiver))`."""
    return _sort(receiver, sender.astype(np.int64) + 2, sender, nth)


def fair_order(seed: int, tick: int, receiver: Int32, sender: Int32, nth: Int32) -> Places:
    """The permutation that sorts by receiver, then fairly; `tick` is the tick in which the messages were sent."""
    if not len(sender):
        return np.empty(0, np.intp)
    lot = _lots(words(seed, tick, _PURPOSE, sender, receiver), sender)
    return _sort(receiver, lot, sender, nth)


def fair_lots(seed: int, tick: int) -> Callable[[int, int], int]:
    """Gives for a sender, an agent, and a receiver the number by which `fair_order` sorts senders."""
    word = word_of(seed, tick, _PURPOSE)
    return lambda sender, receiver: (word(sender, receiver) >> 33) + 1


def fair_actions(draw: Draws, parts: Sequence[str], sender: Int32, nth: Int32) -> Places:
    """The permutation that puts actions on the same part together, and these in the fair order of the tick.

    `draw` are the world's draws in the tick; `parts` names the part that each action is on.
    """
    names = sorted(set(parts))
    number = {name: at for at, name in enumerate(names)}
    part = np.fromiter((number[name] for name in parts), np.int32, len(parts))
    return fair_places(draw, names, part, sender, nth)


def fair_places(
    draw: Draws,
    names: Sequence[str],
    part: Int32,
    sender: Int32,
    nth: Int32,
    plain: frozenset[str] = frozenset(),
) -> Places:
    """`fair_actions`, with the part of each action by its place among `names`, which are sorted.

    Actions on a part of `plain` stand in the order (sender, nth), and nothing is drawn for them.
    """
    if plain.issuperset(names) and len(names) < 2 and (sender[1:] > sender[:-1]).all():
        return np.arange(len(sender))
    lot = np.empty(len(part), np.int64)
    for at, name in enumerate(names):
        mine = slice(None) if len(names) == 1 else part == at
        own = sender[mine]
        if name in plain:
            lot[mine] = own.astype(np.int64) + 2
        else:
            lot[mine] = _lots(draw.words(f"{_PURPOSE}/{name}", own), own)
    return _sort(part, lot, sender, nth)


def _lots(drawn: NDArray[np.uint64], sender: Int32) -> NDArray[np.int64]:
    """The drawn words as 1 to 2**31, and 0 for the world."""
    lot = (drawn >> np.uint64(33)).astype(np.int64) + 1
    lot[sender == WORLD] = 0
    return lot


def _sort(group: Int32, lot: NDArray[np.int64], sender: Int32, nth: Int32) -> Places:
    """The permutation that sorts by (group, lot, sender, nth), for lots below 2**32.

    One stable sort of a combined 64-bit key is faster than a sort by four, and enough wherever those of one key stand
    in the order (sender, nth) already, as they do in a frame; else the few of one key are sorted by themselves.
    """
    if len(lot) > _MANY and group[0] == group[-1] and (group == group[0]).all():
        # Of one group: two stable sorts by 16 bits, which NumPy does by counting, are several times faster.
        order = np.argsort(lot.astype(np.uint16), kind="stable")
        order = order[np.argsort((lot >> 16).astype(np.uint16)[order], kind="stable")]
        return _untied(order, lot[order], sender, nth)
    key = (group.astype(np.int64) << 32) | lot
    bits = len(key).bit_length()
    if len(key) > _MANY and key.min() >= 0 and int(key.max()).bit_length() + bits < 64:
        # A row's place in the lowest bits makes the sort stable, and a sort of numbers is several times an argsort.
        key <<= bits
        key |= np.arange(len(key))
        key.sort()
        order = key & ((1 << bits) - 1)
        key >>= bits
    else:
        order = np.argsort(key, kind="stable")
        key = key[order]
    return _untied(order, key, sender, nth)


def _untied(order: Places, key: NDArray[np.int64], sender: Int32, nth: Int32) -> Places:
    """The permutation `order`, which sorts by `key` (given in that order), with rows of one key by (sender, nth)."""
    tied = np.flatnonzero(key[1:] == key[:-1])
    if not len(tied):
        return order
    one, two = order[tied], order[tied + 1]
    by, then = sender[one], sender[two]
    if not ((by > then) | ((by == then) & (nth[one] > nth[two]))).any():
        return order
    rows = union(tied, tied + 1)
    some = order[rows]
    order[rows] = some[np.lexsort((nth[some], sender[some], key[rows]))]
    return order
