"""The labour market: who is paid what for which hours, who is dismissed, who is hired. Functions over columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from populace.env.economy.sharing import Ints, Words, pick, ranks, share_out

Floats = NDArray[np.float64]


def pay_roll(hours: Floats, rate: Floats, firms: Ints, funds: Ints, words: Words) -> tuple[Ints, Floats]:
    """Each worker's pay in whole cents and the hours that are paid, given what each firm has.

    `hours` are offered, `rate` is in cents an hour, `firms` is each one's employer and `funds` what firms have, cents.
    A firm that cannot pay all the hours takes as many of each worker in proportion: short time, to the last cent.
    """
    pay = np.floor(hours * rate + 1e-9).astype(np.int64)
    bill = np.zeros(len(funds), np.int64)
    np.add.at(bill, firms, pay)
    if (bill <= funds).all():
        return pay, hours
    short = np.flatnonzero((bill > funds)[firms])
    at, there = firms[short], np.maximum(funds, 0)
    pay[short] = share_out(there, at, pay[short], words[short])
    paid = hours.copy()
    paid[short] *= (there / np.maximum(bill, 1))[at]
    return pay, paid


def dismissed(employer: NDArray[np.int32], most: Ints, words: Callable[[Ints], Words]) -> Ints:
    """Who is dismissed where firm f dismisses `most[f]` of its workers, by lot: rows, sorted."""
    if not most.any():
        return np.zeros(0, np.int64)
    workers = np.flatnonzero((employer >= 0) & (most[employer] > 0))
    return workers[pick(employer[workers].astype(np.int64), most, words(workers))]


def match(
    agents: Ints, firms: Ints, vacancies: Ints, wages: Floats, lot: Words, ties: Words
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Hire from applications, each of an agent to a firm: who, where, and a mask of applications of those left over.

    Round by round each firm offers its free places to applicants by lot, and whoever has several offers takes that with
    the highest wage; so nobody is hired twice, no firm hires more than it posted, and no id matters.
    """
    free = vacancies.copy()
    waiting = np.ones(len(agents), np.bool_)
    hired, where = [], []
    while True:
        rows = np.flatnonzero(waiting & (free[firms] > 0))
        rows = rows[pick(firms[rows], free, lot[rows])]
        if not len(rows):
            break
        taken = rows[ranks(agents[rows], -wages[firms[rows]], ties[rows]) == 0]
        np.subtract.at(free, firms[taken], 1)
        waiting &= ~np.isin(agents, agents[taken], kind="sort")
        hired.append(agents[taken])
        where.append(firms[taken])
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *hired]), np.concatenate([none, *where]), waiting
