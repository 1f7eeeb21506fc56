"""A stream of memories as a field of an agent, bounded, and found by recency, importance and relevance. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.mind import few, ranking, reflecting
from populace.agents.mind.prompt import Count, estimate_tokens
from populace.core.leaving import only_checks
from populace.core.records import Abstained

if TYPE_CHECKING:
    from populace.agents.context import Context

Kind = Literal["event", "reflection", "summary", "plan"]
KINDS: Final[tuple[Kind, ...]] = ("event", "reflection", "summary", "plan")

_ROW: Final = np.dtype(
    [
        ("tick", "<i4"), ("used", "<i4"), ("importance", "<f8"), ("tokens", "<u4"), ("square", "<u4"),
        ("distinct", "<u2"), ("words", "<u2"), ("kind", "<u4"),
    ]
)  # fmt: skip
"""A row without gaps: what stood in a gap would be no matter of the memory's, and yet part of what is saved."""
_pack_row: Final = struct.Struct("<iidIIHHI").pack
_UNPACK_ROW: Final = struct.Struct("<iidIIHHI").unpack_from
_EACH_ROW: Final = struct.Struct("<iidIIHHI").iter_unpack
_USED: Final = struct.Struct("<i")
_MOST: Final = 65535
_to_json: Final = msgspec.json.Encoder(order="deterministic").encode


@lru_cache(maxsize=4_096)
def _index(text: str) -> tuple[bytes, bytes, int]:
    """The distinct words of a text as its row holds them, how often each stands in it, and how many words it has."""
    words = ranking.words_of(text)
    often: dict[int, int] = {}
    for hashed in map(ranking.hash_word, words):
        if hashed in often or len(often) < _MOST:
            often[hashed] = often.get(hashed, 0) + 1
    terms = np.fromiter(often, "<u4", len(often)).tobytes()
    return terms, bytes([min(many, 255) for many in often.values()]), min(len(words), _MOST)


class Recalled(msgspec.Struct, frozen=True):
    """A memory that was found: what was noted, and why it was found.

    `at` is its place in the stream at that time; `recency`, `relevance` and `weight` (of importance) are each 0 to 1
    over the stream, `score` their weighted sum.
    """

    at: int
    tick: int
    text: str
    facts: Any
    importance: float
    kind: Kind
    recency: float
    weight: float
    relevance: float
    score: float


class Memory(msgspec.Struct, omit_defaults=True):
    """What an agent remembers: texts or facts, each with its tick and importance (Park et al. 2023, section 4.1).

    ```python
    class Villager(Agent):
        memory: Memory = msgspec.field(default_factory=Memory)

        async def turn(self, ctx):
            self.memory.note(ctx.tick, "Ada asked me to her party", importance=6)
            found = self.memory.retrieve(ctx.tick, "Who gives a party?", k=3)
    ```

    It is plain data of the agent: saved, resumed and forked with it, to the bit. At most `max_entries` and `max_tokens`
    are kept (tokens as estimated when they were noted); when one is passed, the memories of the least recency and
    importance go, a sixteenth of the limit at a time, never the newest. `forgotten` counts them.

    `decay` is what is left of recency after a tick without use (Park et al.: 0.995 an hour). `unreflected` is the
    importance noted since the last reflection. The other fields are the store itself, for `note` and `retrieve` alone:
    a row of 32 bytes, a text, and 5 bytes for each distinct word an entry; 1 byte for each dimension of a vector.
    """

    max_entries: int = 1000
    max_tokens: int = 50_000
    decay: float = 0.995
    recency_weight: float = 1.0
    importance_weight: float = 1.0
    relevance_weight: float = 1.0
    unreflected: float = 0.0
    forgotten: int = 0
    tokens: int = 0
    texts: list[str] = []
    facts: list[str] = []
    rows: bytes = b""
    terms: bytes = b""
    counts: bytes = b""
    vectors: bytes = b""
    dimension: int = 0

    @only_checks
    def __post_init__(self) -> None:
        """Raises ValueError for limits that hold nothing, and for a decay outside 0 to 1."""
        if self.max_entries < 1 or self.max_tokens < 1:
            raise ValueError(
                f"Memory: max_entries={self.max_entries} and max_tokens={self.max_tokens} have to be at least 1"
            )
        if not 0.0 < self.decay <= 1.0:
            raise ValueError(f"Memory: decay={self.decay} has to be above 0 and at most 1: what is left after a tick")

    def __len__(self) -> int:
        return len(self.texts)

    def note(
        self,
        now: int,
        text: str = "",
        importance: float = 1.0,
        *,
        facts: Mapping[str, Any] | None = None,
        kind: Kind = "event",
        count: Count = estimate_tokens,
    ) -> None:
        """Remember a text, or facts, at tick `now`.

        `importance` goes from 0 to 10 (Park et al.: 1 mundane, 10 poignant). Facts are plain data by name; without a
        text they make one: 'who: Ada, shares: 3'. `count` estimates tokens.
        Raises ValueError for an importance outside 0 to 10, for what says nothing, and for a text beyond `max_tokens`.
        """
        if not 0.0 <= importance <= 10.0:
            raise ValueError(f"Memory.note: importance={importance} has to be from 0 (nothing) to 10 (a turning point)")
        if not text and facts:
            text = ", ".join(f"{name}: {value}" for name, value in facts.items())
        if not text.strip():
            raise ValueError("Memory.note: there is nothing to remember: give a text, or facts")
        told = _to_json(facts).decode() if facts else ""
        tokens = count(text)
        if tokens > self.max_tokens:
            raise ValueError(
                f"Memory.note: a text of {tokens} tokens never fits max_tokens={self.max_tokens}: shorten it, or raise "
                "the limit"
            )
        terms, counts, words = _index(text)
        self.rows += _pack_row(now, now, float(importance), tokens, 0, len(counts), words, KINDS.index(kind))
        self.terms += terms
        self.counts += counts
        if self.dimension:
            self.vectors += bytes(self.dimension)
        self.texts.append(text)
        self.facts.append(told)
        self.tokens += tokens
        if kind == "event":
            self.unreflected += float(importance)
        if len(self.texts) > self.max_entries or self.tokens > self.max_tokens:
            self._forget(now)

    def retrieve(
        self,
        now: int,
        query: str = "",
        k: int = 8,
        *,
        vector: Any = None,
        kinds: Sequence[Kind] = KINDS,
        use: bool = True,
    ) -> list[Recalled]:
        """The `k` memories of the highest score at tick `now`, best first; of equals the later one.

        score = recency_weight r + importance_weight i + relevance_weight v, each stretched over 0 to 1 in the stream:
        r is decay to the ticks since the memory was last used, i its importance, v its relevance for the query: BM25
        of the texts, or with `vector` (float, of `dimension`) the cosine with theirs. With `use`, those found count as
        used now. `kinds` are those that are looked at.
        """
        if not self.texts or k < 1:
            return []
        was = self.rows
        parts: Sequence[Sequence[float] | ranking.Floats]
        if vector is None and len(self.texts) <= few.MOST:
            places, *parts = self._among_few(now, query, k, kinds)
        else:
            places, *parts = self._among_many(now, query, k, vector, kinds)
        if use:
            changed = bytearray(was)
            for at in places:
                _USED.pack_into(changed, at * _ROW.itemsize + 4, now)
            self.rows = bytes(changed)
        made: list[Recalled] = []
        for at in places:
            tick, _, importance, _, _, _, _, of = _UNPACK_ROW(was, at * _ROW.itemsize)
            made.append(self._recalled(at, tick, importance, of, *[float(part[at]) for part in parts]))
        return made

    def recent(self, n: int) -> list[str]:
        """The texts of the last `n` memories, oldest first."""
        return self.texts[-n:] if n > 0 else []

    def events(self, n: int) -> list[int]:
        """Places of the oldest `n` events."""
        found: list[int] = np.flatnonzero(self._rows()["kind"] == 0)[: max(n, 0)].tolist()
        return found

    def importances(self) -> list[float]:
        """The importance of each memory, oldest first."""
        values: list[float] = self._rows()["importance"].tolist()
        return values

    def nbytes(self) -> int:
        """Bytes that the agent's memory takes in a checkpoint."""
        return len(msgspec.msgpack.encode(self))

    def reflection_due(self, limit: float = 150.0) -> bool:
        """Whether the importance of what was noted since the last reflection sums past a limit (Park et al.: 150)."""
        return self.unreflected >= limit

    async def recall(self, ctx: Context, query: str, k: int = 8, *, model_role: str = "embed") -> list[Recalled]:
        """`retrieve` by embeddings: those of the query and of memories that have none yet are asked for in one ask.

        Where there is no usable answer, or vectors of another length, it goes by words.
        """
        return await reflecting.recall(self, ctx, query, k, model_role)

    async def rate(self, ctx: Context, text: str, *, model_role: str = "") -> float | Abstained:
        """The importance of a text, 1 to 10, asked for (Park et al. 2023); purpose `memory_importance`."""
        return await reflecting.rate(ctx, text, model_role)

    async def reflect(
        self, ctx: Context, *, who: str = "", questions: int = 3, insights: int = 5, recent: int = 100,
        model_role: str = "",
    ) -> list[str] | Abstained:  # fmt: skip
        """Note what follows from what was noted lately, and begin a new sum (Park et al. 2023, section 4.2).

        Asks for the most salient questions of the last `recent` memories (purpose `memory_questions`), and for each
        question for insights from what is found for it (`memory_insights`); notes these as reflections. Gives them, or
        Abstained where an ask had no usable answer: what came before it is noted, and the sum stays.
        """
        return await reflecting.reflect(self, ctx, who, questions, insights, recent, model_role)

    async def summarise(self, ctx: Context, oldest: int = 50, *, model_role: str = "") -> str | Abstained:
        """Put one text in the place of the `oldest` events (purpose `memory_summary`); it has their highest importance.

        Gives it; '' where there are fewer than two events, or Abstained, and nothing has changed then.
        """
        return await reflecting.summarise(self, ctx, oldest, model_role)

    def drop(self, places: Sequence[int]) -> None:
        """Remove the memories at these places."""
        keep = np.ones(len(self.texts), bool)
        keep[list(places)] = False
        self._keep(keep)

    def put_vectors(self, places: Sequence[int], vectors: Any) -> None:
        """Give the memories at `places` their vectors (n, dimension), as whole numbers of eight bits.

        Raises ValueError for vectors of another length than those that it has.
        """
        scaled, squares = ranking.quantise(np.asarray(vectors))
        if self.dimension and scaled.shape[1] != self.dimension:
            raise ValueError(f"Memory: vectors of {scaled.shape[1]} numbers, where others have {self.dimension}")
        rows = self._rows().copy()
        rows["square"][places] = squares
        held = self._vectors(scaled.shape[1]).copy()
        held[places] = scaled
        self.rows, self.vectors, self.dimension = rows.tobytes(), held.tobytes(), scaled.shape[1]

    def without_vectors(self) -> list[int]:
        """Places of memories that have no vector yet."""
        missing: list[int] = np.flatnonzero(self._rows()["square"] == 0).tolist()
        return missing

    def _among_many(
        self, now: int, query: str, k: int, vector: Any, kinds: Sequence[Kind]
    ) -> tuple[list[int], ranking.Floats, ranking.Floats, ranking.Floats, ranking.Floats]:
        """The places of the best; recency, weight, relevance and score of all."""
        rows = self._rows()
        recency = ranking.to_unit(ranking.powers(self.decay, np.maximum(now - rows["used"], 0)))
        weight = ranking.to_unit(rows["importance"])
        relevance = np.zeros(len(rows))
        if vector is not None:
            relevance = ranking.to_unit(self._cosines(rows, vector))
        elif query:
            terms, counts = np.frombuffer(self.terms, "<u4"), np.frombuffer(self.counts, np.uint8)
            scores = ranking.bm25(ranking.terms_of(query), terms, counts, rows["distinct"], rows["words"])
            relevance = ranking.to_unit(scores)
        score = self.recency_weight * recency + self.importance_weight * weight + self.relevance_weight * relevance
        if kinds is KINDS:
            found = ranking.best(score, k)
        else:
            among = np.flatnonzero(np.isin(rows["kind"], [KINDS.index(kind) for kind in kinds]))
            found = among[ranking.best(score[among], k)] if len(among) else among
        return found.tolist(), recency, weight, relevance, score

    def _among_few(
        self, now: int, query: str, k: int, kinds: Sequence[Kind]
    ) -> tuple[list[int], Sequence[float], Sequence[float], Sequence[float], Sequence[float]]:
        """The same of a few memories, by words, and without NumPy."""
        _, used, importance, _, _, distinct, words, of = zip(*_EACH_ROW(self.rows), strict=True)
        recency = few.to_unit(few.powers(self.decay, [now - one if one < now else 0 for one in used]))
        weight = few.to_unit(importance)
        relevance: Sequence[float] = [0.0] * len(used)
        if query:
            relevance = few.to_unit(few.bm25(few.asked_for(query), self.terms, self.counts, distinct, words))
        a, b, c = self.recency_weight, self.importance_weight, self.relevance_weight
        score = [a * one + b * two + c * three for one, two, three in zip(recency, weight, relevance, strict=True)]
        among: Sequence[int] = range(len(used))
        if kinds is not KINDS:
            wanted = {KINDS.index(kind) for kind in kinds}
            among = [at for at, one in enumerate(of) if one in wanted]
        return few.best(score, k, among), recency, weight, relevance, score

    def _rows(self) -> NDArray[Any]:
        return np.frombuffer(self.rows, _ROW)

    def _vectors(self, dimension: int) -> NDArray[np.int8]:
        if not self.dimension:
            return np.zeros((len(self.texts), dimension), np.int8)
        return np.frombuffer(self.vectors, np.int8).reshape(-1, dimension)

    def _cosines(self, rows: NDArray[Any], vector: Any) -> ranking.Floats:
        scaled, squares = ranking.quantise(np.asarray(vector).reshape(1, -1))
        if scaled.shape[1] != self.dimension:
            raise ValueError(
                f"Memory.retrieve: a vector of {scaled.shape[1]} numbers, where the memory's have {self.dimension}"
            )
        return ranking.cosines(self._vectors(self.dimension), rows["square"], scaled[0], int(squares[0]))

    def _recalled(self, at: int, tick: int, importance: float, kind: int, *parts: float) -> Recalled:
        told = self.facts[at]
        facts = msgspec.json.decode(told) if told else None
        return Recalled(at, tick, self.texts[at], facts, importance, KINDS[kind], *parts)

    def _forget(self, now: int) -> None:
        """Get under both limits, the weakest first, and of equals the oldest."""
        rows = self._rows()
        strength = self.recency_weight * ranking.powers(self.decay, np.maximum(now - rows["used"], 0))
        strength += self.importance_weight * rows["importance"] / 10.0
        order = np.argsort(strength[:-1], kind="stable")
        many = max(len(rows) - self.max_entries + self.max_entries // 16, 0) if len(rows) > self.max_entries else 0
        if self.tokens > self.max_tokens:
            over = self.tokens - self.max_tokens + self.max_tokens // 16
            many = max(many, int(np.searchsorted(np.cumsum(rows["tokens"][order], dtype=np.int64), over)) + 1)
        keep = np.ones(len(rows), bool)
        keep[order[:many]] = False
        self.forgotten += len(rows) - int(keep.sum())
        self._keep(keep)

    def _keep(self, keep: NDArray[np.bool_]) -> None:
        rows = self._rows()
        by_word = np.repeat(keep, rows["distinct"])
        if self.dimension:
            self.vectors = self._vectors(self.dimension)[keep].tobytes()
        self.terms = np.frombuffer(self.terms, "<u4")[by_word].tobytes()
        self.counts = np.frombuffer(self.counts, np.uint8)[by_word].tobytes()
        self.texts = [text for text, kept in zip(self.texts, keep.tolist(), strict=True) if kept]
        self.facts = [told for told, kept in zip(self.facts, keep.tolist(), strict=True) if kept]
        self.rows = rows[keep].tobytes()
        self.tokens = int(rows["tokens"][keep].sum(dtype=np.int64))
