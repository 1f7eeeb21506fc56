"""Embeddings as answers: what `ctx.embed` asks for, and how vectors stand in a journal, in tables and in the trace."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.agents.answers import AnswerSpec

Vectors = NDArray[np.float32]

_TEXT: Final = re.compile(r"float32 (\d+)x(\d+) ([A-Za-z0-9+/]*={0,2})")


def write_vectors(vectors: ArrayLike) -> str:
    """Vectors (n, dimension) as text: 'float32 NxD ' and base64 of their bytes, little-endian, row after row.

    They read back as they are here as float32. Raises ValueError for what is not such an array, is empty, or holds a
    number that is not finite.
    """
    array = np.ascontiguousarray(vectors, dtype="<f4")
    if array.ndim != 2 or not array.size:
        raise ValueError(f"embeddings have to be vectors of one length, and are an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("an embedding holds numbers that are not finite")
    return f"float32 {array.shape[0]}x{array.shape[1]} {b64encode(array.tobytes()).decode()}"


def read_vectors(text: str) -> Vectors:
    """What `write_vectors` wrote: float32, (n, dimension), read-only. Raises ValueError for any other text."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"is no text of embeddings: {text[:80]!r}")
    rows, columns = int(found[1]), int(found[2])
    try:
        content = b64decode(found[3], validate=True)
    except NotBase64 as error:
        raise ValueError(f"is no text of embeddings: {error}") from None
    if not rows or not columns or len(content) != 4 * rows * columns:
        raise ValueError(f"is no text of {rows} embeddings of {columns} numbers: it holds {len(content)} bytes")
    vectors = np.frombuffer(content, "<f4").reshape(rows, columns).astype(np.float32, copy=False)
    vectors.flags.writeable = False
    return vectors


EMBEDDING: Final = AnswerSpec("embedding", "embedding", None, read_vectors)
"""The type of what `ctx.embed` asks for; the ask's messages are the texts, each with the role `text`."""
