"""Placebo embeddings: unit vectors that depend on the text alone, and say nothing of what it means."""

from __future__ import annotations

from hashlib import shake_256
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

DIMENSION: Final = 64
"""Of placebo embeddings."""


def placebo_vector(text: str, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """A unit vector of float32, whose direction is drawn by SHAKE-256 of the text: equal texts, equal vectors.

    Each component is a 16-bit integer over the root of the sum of squares, which is exact or correctly rounded, so the
    vector is the same on every machine. Directions of different texts are unrelated: cosines are about 0, give or take
    1 / sqrt(dimension).
    """
    drawn = np.frombuffer(shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dimension), "<i2").tolist()
    length = sqrt(sum(part * part for part in drawn)) or 1.0
    return np.array([part / length for part in drawn], np.float32)
