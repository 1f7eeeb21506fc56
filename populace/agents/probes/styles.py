"""How people answer, whatever they are asked: straight lines, yes to everything, only extremes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.agents.probes.instrument import Instrument

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Styles:
    """Response styles, arrays with a value a person, NaN for a person without an answer.

    - `longest_run`: the most items in a row, of those answered, with one and the same answer (long-string index).
    - `straight_line`: whether all answers are the same, of a person with two or more.
    - `acquiescence`: the share of answers above the middle less the share below it, before any reversal, -1 to 1. With
      as many reversed items as others, content cancels out and what is left is a tendency to say yes.
    - `extreme` and `middle`: the shares of answers at either end of the range and in its middle.
    - `spread`: the standard deviation of a person's answers, in parts of the range (intra-individual variability).

    Baumgartner and Steenkamp (2001), Journal of Marketing Research 38, 143-156; Johnson (2005), Journal of Research in
    Personality 39, 103-129; Dunn, Heggestad, Shanock and Theilgard (2018), Journal of Business and Psychology 33, 105.
    """

    longest_run: Floats
    straight_line: NDArray[np.bool_]
    acquiescence: Floats
    extreme: Floats
    middle: Floats
    spread: Floats


def response_styles(instrument: Instrument, answers: Any) -> Styles:
    """The response styles of these answers, as given and not reversed; `answers` as in `Instrument.matrix`."""
    raw = instrument.matrix(answers)
    low = np.array([item.low for item in instrument.rated])
    high = np.array([item.high for item in instrument.rated])
    values = (raw - low) / (high - low)
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    least, most = np.where(there, raw, np.inf).min(axis=1), np.where(there, raw, -np.inf).max(axis=1)
    return Styles(
        longest_run=np.where(count > 0, _longest_run(raw, there), np.nan),
        straight_line=(count > 1) & (least == most),
        acquiescence=_share(values > 0.5, count) - _share(there & (values < 0.5), count),
        extreme=_share(there & ((values == 0.0) | (values == 1.0)), count),
        middle=_share(there & (values == 0.5), count),
        spread=_spread(values, there, count),
    )


def _share(of: NDArray[np.bool_], count: NDArray[np.int64]) -> Floats:
    return np.where(count > 0, of.sum(axis=1) / np.maximum(count, 1), np.nan)


def _spread(values: Floats, there: NDArray[np.bool_], count: NDArray[np.int64]) -> Floats:
    many = np.maximum(count, 1)[:, None]
    mean = np.where(there, values, 0.0).sum(axis=1, keepdims=True) / many
    square = np.where(there, (values - mean) ** 2, 0.0).sum(axis=1)
    return np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1)), np.nan)


def _longest_run(raw: Floats, there: NDArray[np.bool_]) -> Floats:
    """The longest run of equal answers of each person; items left out neither end a run nor add to it."""
    people = len(raw)
    last, run, best = np.full(people, np.nan), np.zeros(people), np.zeros(people)
    for at in range(raw.shape[1]):
        now = there[:, at]
        run = np.where(now, np.where(raw[:, at] == last, run + 1, 1), run)
        last = np.where(now, raw[:, at], last)
        best = np.maximum(best, run)
    return best
