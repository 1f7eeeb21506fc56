"""Embeddings by OpenAI's protocol: asks as one request to `/embeddings`, and its reply as their vectors. Pure."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from populace.agents.embedding import Vectors, write_vectors
from populace.budget.prices import credible, share_out, tokens_of
from populace.models.bodies import DECODE_ERRORS, objects, plain_body
from populace.models.chat import Usage, usage_of
from populace.models.dialect import Form
from populace.models.endings import Ending, Fault, Said
from populace.models.refusals import read_error_in_answer

MOST_TEXTS: Final = 32
"""So many texts at most go into one request that carries several asks: what servers take without being set up for it
(text-embeddings-inference's limit). One ask's texts go together, however many."""

_TO_JSON: Final = msgspec.json.Encoder().encode


class _Item(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


class _Reply(msgspec.Struct):
    data: list[_Item] = []
    usage: Usage | None = None
    error: Any = None


_REPLY: Final = msgspec.json.Decoder(_Reply, strict=False)


def embedding_request(model: str, texts: Sequence[str], taken: Form) -> bytes:
    """The body of a request. `taken` is how the endpoint takes its requests, as far as that is known."""
    fields: dict[str, Any] = {"model": model, "input": list(texts)}
    if taken.encoding_format:
        fields["encoding_format"] = "base64"
    return _TO_JSON(fields)


def read_embeddings(body: bytes, asks: Sequence[Sequence[str]], content_type: str = "") -> list[Ending]:
    """An outcome for each ask, which holds some texts of the request, from the body of a 200.

    Vectors come as base64 of little-endian float32 or as lists of numbers, in any order. What all took together is
    parted by the texts' lengths. A reply without a good vector for every text is a fault that may have been billed.
    """
    texts = [text for ask in asks for text in ask]
    try:
        reply = _REPLY.decode(body)
    except DECODE_ERRORS:
        plain = plain_body(body, content_type)
        if isinstance(plain, Fault):
            return [plain] * len(asks)
        error = plain.get("error")
        if error:
            return [read_error_in_answer(error)] * len(asks)
        items = [_Item(one["embedding"], one.get("index")) for one in objects(plain.get("data")) if "embedding" in one]
        reply = _Reply(items, usage_of(plain.get("usage")))
    if reply.error and not reply.data:
        return [read_error_in_answer(reply.error)] * len(asks)
    try:
        vectors = _in_order(reply.data, len(texts))
        ends = np.cumsum([len(ask) for ask in asks])
        said = [write_vectors(part) for part in np.split(vectors, ends[:-1])]
    except (ValueError, TypeError, OverflowError, NotBase64) as error:
        return [Fault(f"the embeddings cannot be read: {error}", billed=True)] * len(asks)
    total, told = credible((reply.usage or Usage()).prompt_tokens, sum(map(len, texts)))
    used = share_out(total if told else -1, [sum(tokens_of(len(text)) for text in ask) for ask in asks])
    return [Said(text, tokens, 0, counted=told) for text, tokens in zip(said, used, strict=True)]


def _in_order(items: Sequence[_Item], texts: int) -> Vectors:
    """The vectors of all texts, in their order. Raises ValueError where one is missing or of another length."""
    found: dict[int, Any] = {}
    for nth, item in enumerate(items):
        given = item.embedding
        vector = np.frombuffer(b64decode(given, validate=True), "<f4") if isinstance(given, str) else given
        found.setdefault(nth if item.index is None else item.index, np.asarray(vector, np.float32))
    missing = [at for at in range(texts) if at not in found]
    if missing or len(found) > texts:
        raise ValueError(f"there are {len(found)} for {texts} texts")
    lengths = {vector.shape for vector in found.values()}
    if len(lengths) > 1:
        raise ValueError(f"they are of different lengths: {sorted(lengths)}")
    return np.stack([found[at] for at in range(texts)])
