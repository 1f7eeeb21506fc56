"""A type of agents that takes its turns as a whole, over columns: a field is an array with a value an agent.

For rules at the scale of millions. Such agents ask the model once for all that would ask the same.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent, defined_in
from populace.core.errors import ScenarioError

if TYPE_CHECKING:
    from populace.agents.columnar_context import ColumnarContext

DTYPES: Final[Mapping[type, np.dtype[Any]]] = {
    float: np.dtype(np.float64), int: np.dtype(np.int64), bool: np.dtype(np.bool_)
}  # fmt: skip
_FITS: Final = {float: "fiu", int: "iu", bool: "b"}


class ColumnarAgent(Agent):
    """Subclass it, declare fields of float, int or bool, and say in `turns` what all that are due do.

    ```python
    class Trader(ColumnarAgent):
        wealth: Public[int] = 1

        def turns(self, ctx):
            self.wealth += ctx.inbox.sums()
            rich = self.wealth > 0
            ctx.send(ctx.draw("partner").integer(ctx.population), 1, who=rich)
            self.wealth -= rich
    ```

    In `turns` each field of `self` is a NumPy array (float64, int64 or bool) with the values of the agents that are
    due, in the order of `ctx.ids`; what is put into it is what they hold then, and nothing else of `self` stays.

    `turns` is called once a tick on each shard, with the due agents of that shard alone. So that a run is one on any
    number of shards, what an agent does may go by its own row, by `ctx.draw` and by what the world shows, and never by
    the other rows that happen to be there: no mean over `self.wealth`, no place in the array. What agents need to know
    of one another comes from the world (`ctx.seen`) or in messages. `populace.testing.check_society` finds it out.

    What it raises ends the run, since on other shards other agents would have been in the same call.
    """

    def turns(self, ctx: ColumnarContext) -> Awaitable[None] | None:
        """What the agents that are due in a tick do; `async def` where it awaits `ctx.ask`."""
        return None


def check_columnar(kind: type[ColumnarAgent]) -> None:
    """Raise ScenarioError, naming class, file and line, for a class without usable `turns`, or with other fields."""
    place = f"{defined_in(kind)}{kind.__name__}"
    turns = kind.turns
    if kind.turn is not Agent.turn:
        raise ScenarioError(f"{place}: a ColumnarAgent has `turns(self, ctx)` for all and no `turn` of each.")
    if turns is ColumnarAgent.turns:
        raise ScenarioError(f"{place} has no turns: write `def turns(self, ctx):` in it.")
    if kind.__struct_config__.frozen or hasattr(kind, "__post_init__") or kind.__dictoffset__:
        raise ScenarioError(f"{place}: a ColumnarAgent is not frozen, has no __post_init__ and no dict=True.")
    column_types(kind)
    code = getattr(turns, "__code__", None)
    if code is None:
        return
    where = f"{code.co_filename}:{code.co_firstlineno}: {kind.__name__}.turns"
    try:
        inspect.signature(turns).bind("self", "ctx")
    except TypeError as error:
        raise ScenarioError(f"{where}: is called as turns(self, ctx), and cannot be: {error}.") from None
    if inspect.isgeneratorfunction(turns) or inspect.isasyncgenfunction(turns):
        raise ScenarioError(
            f"{where}: write `def turns(self, ctx):`, or `async def` where it awaits ctx.ask, without yield."
        )


def column_types(kind: type[Agent]) -> dict[str, type]:
    """The fields of a columnar class, each with float, int or bool. Raises ScenarioError for one of another type."""
    found: dict[str, type] = {}
    for name, hint in typing.get_type_hints(kind).items():
        if name not in kind.__struct_fields__:
            continue
        if hint not in DTYPES:
            raise ScenarioError(
                f"{defined_in(kind)}{kind.__name__}.{name}: a field of a ColumnarAgent is a float, int or bool, not "
                f"{getattr(hint, '__name__', hint)}."
            )
        found[name] = hint
    return found


def put_column(
    kind: type[Agent], name: str, of: type, value: Any, size: int, ids: NDArray[np.int32] | None = None
) -> NDArray[Any]:
    """What `turns` left in a field, as the column that it becomes.

    Raises ScenarioError, naming class and field, and of `ids` the agent whose number does not fit 64 bits.
    """
    given = np.asarray(value)
    if given.dtype.kind not in _FITS[of] or given.shape not in ((size,), ()):
        what = f"an array of {given.dtype}, {given.shape}"
        raise ScenarioError(
            f"{kind.__name__}.{name} is {of.__name__}, and turns left {what} in it, for {size:,} agents: put an array "
            f"of {DTYPES[of]} with a value for each of ctx.ids into it (`.astype({of.__name__})`), or one number."
        )
    if given.dtype.kind == "u" and given.size and int(given.max()) >= 2**63:
        at = int((given >= 2**63).argmax())
        who = "" if ids is None or not given.shape else f" of agent {ids[at]}"
        raise ScenarioError(f"{kind.__name__}.{name}{who} holds 64 bits, and turns put {given.max()} into it")
    if given.shape == ():
        return np.full(size, given, DTYPES[of])
    return np.ascontiguousarray(given, DTYPES[of])
