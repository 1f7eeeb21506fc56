"""The tables that a run leaves, each declared once: columns, what fills them, order, and how two runs' are compared.

Everything that has to do with a table follows from this: what the kernel gives (`populace.kernel.rows`), what is
written (`populace.store.tables`), what `diff` compares. A new column of `asks` is one line here, with its `source`
(`kernel.rows` and `kernel.sharing` give those without).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import msgspec

from populace.core.records import REASONS

SCHEMA_VERSION: Final = 1
"""Of the tables as they are declared here, written into each file: higher where a column is another than before under
its name, or is gone. A new column is no new version."""

TableRows: TypeAlias = dict[str, Any]
"""Rows of one table: a sequence or an array a column, all of one length."""

ColumnType: TypeAlias = Literal["int32", "int64", "float64", "bool", "text"]
Given: TypeAlias = Literal["plain", "packed", "prompt", "digest", "negative_is_null", "empty_is_null"]
"""How a column comes from the kernel: as it is written; packed by msgpack (written as JSON); as an ask's messages
(written as JSON); as bytes (written in hex); with negative numbers, or empty texts, for null."""


class Column(msgspec.Struct, frozen=True):
    """One column. `about` is its unit or meaning; `source`, of a column of asks, where it is read from.

    `diff` compares those that are `compared`, and reads those that are `shown` beside them. `distinct` says that few
    values come twice, so that a dictionary of them would cost time and space. `private` says that it may tell who
    somebody is, since people, models or their errors wrote it, or it is drawn from what they wrote.
    """

    name: str
    type: ColumnType
    about: str
    given: Given = "plain"
    nullable: bool = False
    distinct: bool = False
    source: str = ""
    compared: bool = False
    shown: bool = False
    private: bool = False


class Table(msgspec.Struct, frozen=True):
    """One table. `about` says what a row is; rows of a batch are sorted by `order`.

    `tick` is the column of the tick, and rows of tick t tell of what was done in tick t - `late`. `identity` names a
    row within its tick. `record` is the setting (`record.<name>`) by which the table is kept; without one it always is.
    One that is `seldom` is there only where it has rows.
    """

    about: str
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    identity: tuple[str, ...]
    tick: str = "tick"
    late: int = 0
    record: str | None = None
    seldom: bool = False

    def named(self, *, compared: bool = False, shown: bool = False) -> tuple[str, ...]:
        """The names of the columns that are compared, or shown."""
        return tuple(one.name for one in self.columns if (compared and one.compared) or (shown and one.shown))


_TICK: Final = Column("tick", "int32", "tick")
_ID: Final = Column("agent", "int32", "agent's id")
_FATE: Final = Column("fate", "text", "delivered, expired or refused", compared=True)

TABLES: Final[Mapping[str, Table]] = MappingProxyType({
    "agents": Table(
        "an agent's public fields at a tick",
        (_TICK, _ID),
        order=("tick", "agent"), identity=("agent",), late=1, record="agents",
    ),
    "messages": Table(
        "a message and its fate",
        (
            Column("tick_sent", "int32", "tick"),
            Column("tick_read", "int32", "tick; null: never read", "negative_is_null", nullable=True),
            Column("sender", "int32", "agent's id; -1: the world or a lever"),
            Column("receiver", "int32", "agent's id; -1: the world", compared=True),
            Column("nth", "int32", "which of its sender's messages of that tick, from 0; a lever's from 2**30"),
            Column("body", "text", "JSON; bytes as base64", "packed", compared=True, private=True),
            _FATE,
        ),
        order=("tick_sent", "sender", "nth"), identity=("sender", "nth"), tick="tick_sent", record="messages",
    ),
    "asks": Table(
        "a question and how it ended",
        (
            Column("tick", "int32", "tick", source="ask.tick"),
            Column("agent", "int32", "agent's id; -1: a part of the world, or agents of a type together",
                   source="ask.agent"),
            Column("nth", "int32", "which of its agent's asks of that tick, from 0", source="ask.nth"),
            Column("purpose", "text", "what the agent asked for", source="ask.purpose", shown=True),
            Column("model_role", "text", "which model was asked; null: the default one, or not on record",
                   "empty_is_null", nullable=True, source="ask.model_role", shown=True),
            Column("settled", "text", "answered, cached, replayed, surrogate or abstained", source="answer.settled"),
            Column("reason", "text", f"why it abstained: {', '.join(REASONS)}", "empty_is_null", nullable=True,
                   source="answer.reason", compared=True),
            Column("detail", "text", "more on why it abstained", "empty_is_null", nullable=True,
                   source="answer.detail", private=True),
            Column("prompt", "text", "JSON list of messages", "prompt", distinct=True, source="ask.messages",
                   private=True),
            Column("facts", "text", "JSON object: what the prompt was made of; null: none, or not on record",
                   "empty_is_null", nullable=True, source="ask.facts", private=True),
            Column("answer", "text", "what the model said; null: abstained", nullable=True, source="answer.text",
                   compared=True, private=True),
            Column("reasoning", "text", "what the model thought before, where it is told", "empty_is_null",
                   nullable=True, source="answer.reasoning", private=True),
            Column("cut", "bool", "whether a text ended at max_tokens; null: not on record", nullable=True,
                   source="answer.cut"),
            Column("reading", "text", "how it was read: extracted or coerced; null: as it stood", "empty_is_null",
                   nullable=True, source="answer.reading"),
            Column("left_out", "text", "what of the ask its endpoint does not take: temperature, seed, json_schema",
                   "empty_is_null", nullable=True, source="answer.left_out"),
            Column("tokens_in", "int64", "tokens", source="answer.tokens_in"),
            Column("tokens_out", "int64", "tokens", source="answer.tokens_out"),
            Column("cost_usd", "float64", "US dollars", source="answer.cost_usd"),
            Column("calls", "int32", "calls billed, repairs and retries included", source="answer.calls"),
            Column("latency_s", "float64", "seconds of wall time", distinct=True, source="answer.latency_s"),
            Column("key", "text", "content key, hex of BLAKE2b-128", "digest", distinct=True, source="ask.key",
                   compared=True, private=True),
            Column("for_type", "text", "the type whose agents asked it together; null: one agent, or a part",
                   "empty_is_null", nullable=True, shown=True),
            Column("stands_for", "int32", "for how many agents of that type it was asked; null: as above",
                   "negative_is_null", nullable=True),
        ),
        order=("tick", "agent", "nth"), identity=("agent", "nth"), record="asks",
    ),
    "actions": Table(
        "an action and its fate",
        (
            _TICK,
            _ID,
            Column("nth", "int32", "its place among what its agent sent and did in that tick, from 0"),
            Column("kind", "text", "part and action", compared=True),
            Column("args", "text", "JSON; bytes as base64", "packed", compared=True, private=True),
            Column("fate", "text", "applied or refused", compared=True),
        ),
        order=("tick", "agent", "nth"), identity=("agent", "nth"), record="actions",
    ),
    "rounds": Table(
        "what a member said in a round within a tick, and heard of it",
        (
            _TICK,
            _ID,
            Column("nth", "int32", "which of its agent's contributions of that tick, from 0"),
            Column("part", "text", "the part that held the round", shown=True),
            Column("group", "text", "the group's name", shown=True, private=True),
            Column("round", "int32", "which of its group's rounds of that tick, from 0", shown=True),
            Column("said", "text", "JSON; bytes as base64", "packed", compared=True, private=True),
            Column("heard", "text", "JSON; bytes as base64", "packed", compared=True, private=True),
        ),
        order=("tick", "agent", "nth"), identity=("agent", "nth"),
        record="rounds",
    ),
    "outcomes": Table(
        "one outcome at a tick",
        (_TICK, Column("name", "text", "outcome"), Column("value", "float64", "the society's own unit")),
        order=("tick",), identity=("name",), late=1,
    ),
    "failures": Table(
        "a turn ended by an exception",
        (
            _TICK,
            _ID,
            Column("error", "text", "the exception, in a line", compared=True, private=True),
            Column("story", "text", "what led to it", private=True),
        ),
        order=("tick", "agent"), identity=("agent",),
    ),
    "surrogates": Table(
        "what a tick came to for the surrogate of a type and purpose",
        (
            _TICK,
            Column("type", "text", "agents' type; in a society of one class 'agent'"),
            Column("purpose", "text", "what agents asked for"),
            Column("answered", "int64", "asks that the surrogate answered", compared=True),
            Column("asked", "int64", "asks that the model answered", compared=True),
            Column("audits", "int64", "those of them that were audited"),
            Column("surprise", "float64", "sum over audits: the chance that the surrogate said another category"),
            Column("expected", "float64", "sum over audits: the mean of that, were the answers its own"),
            Column("evidence", "float64", "e-value against the fit after the last audit, 1 at its beginning"),
            Column("trusted", "bool", "whether it answers in the next tick", compared=True),
            Column("answers", "int64", "answers that there are to fit to"),
            Column("alarms", "int32", "how often trust was withdrawn so far"),
        ),
        order=("tick", "type", "purpose"), identity=("type", "purpose"), seldom=True,
    ),
    "turnover": Table(
        "an agent's birth or exit",
        (
            Column("tick", "int32", "the first tick in which it lives, or no longer does"),
            _ID,
            Column("type", "text", "agent's type; in a society of one class 'agent'"),
            Column("what", "text", "born or left", compared=True),
        ),
        order=("tick", "agent"), identity=("agent",), late=1, seldom=True,
    ),
    "ties": Table(
        "an edge of a network as the run began",
        (
            _TICK,
            Column("part", "text", "the part that holds the network"),
            Column("source", "int32", "agent's id: whose edge it is", private=True),
            Column("target", "int32", "agent's id", private=True),
            Column("weight", "float64", "the society's own unit", private=True),
        ),
        order=("tick",), identity=("source", "target"), late=1, record="ties", seldom=True,
    ),
    "places": Table(
        "a place of a city",
        (
            _TICK,
            Column("part", "text", "the part that is the city"),
            Column("place", "int32", "the place's id"),
            Column("kind", "text", "its kind, such as home"),
            Column("name", "text", "its name; null: none", "empty_is_null", nullable=True),
            Column("x", "float64", "metres east"),
            Column("y", "float64", "metres north"),
            Column("block_m", "float64", "metres between two streets of a generated city; null: none are known",
                   nullable=True),
        ),
        order=("tick", "place"), identity=("part", "place"), late=1, record="whereabouts", seldom=True,
    ),
    "whereabouts": Table(
        "an agent that is elsewhere in a city than before, from a tick on",
        (
            Column("tick", "int32", "the first tick in which it is so; one on its way set out in the tick before"),
            Column("part", "text", "the part that is the city"),
            _ID,
            Column("place", "int32", "where it is; null: at no place", "negative_is_null", nullable=True,
                   compared=True, private=True),
            Column("origin", "int32", "where it set out, or the place that turned it away; null: neither",
                   "negative_is_null", nullable=True, private=True),
            Column("to", "int32", "where it is going; null: it is on no way", "negative_is_null", nullable=True,
                   compared=True, private=True),
            Column("arrives", "int32", "the tick in which it will be there; null: it is on no way",
                   "negative_is_null", nullable=True),
        ),
        order=("tick", "agent"), identity=("part", "agent"), late=1, record="whereabouts", seldom=True,
    ),
    "levers": Table(
        "an agent touched by a lever",
        (
            _TICK,
            Column("lever", "text", "its name, or its place in the settings", shown=True, private=True),
            Column("agent", "int32", "agent's id; -1: nobody in particular, since a parameter was set"),
            Column("what", "text", "what the lever did", shown=True, private=True),
            Column("why", "text", "what its trigger read; null without one", "empty_is_null", nullable=True,
                   shown=True, private=True),
        ),
        order=("tick", "agent"), identity=("agent",),
    ),
})  # fmt: skip

PART_TABLES: Final = ("ties", "places", "whereabouts")
"""Tables of which parts of the world give the rows: see `populace.env.Part.table_rows`."""
