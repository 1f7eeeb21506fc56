"""Who lives on a shard: agents by type, how they are born and leave, and what is kept of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.agents.columnar import ColumnarAgent
from populace.agents.population import make_agents
from populace.core.errors import CheckpointDamaged
from populace.core.roster import Roster
from populace.kernel.column_turns import Type
from populace.kernel.columnar import ColumnarTypes
from populace.kernel.edge import Edge, dealt
from populace.kernel.plan import Hosted, ShardPlan
from populace.kernel.public_fields import FieldsByType, PublicFields
from populace.kernel.saving import Keeper, Keepers
from populace.kernel.snapshot import ShardState

NOBODY: Final = Agent()
"""Stands for an agent who has left, and for one of a columnar type."""


class Residents:
    """The agents `index`, `index + shards`, `index + 2 * shards`, ... of the population.

    `agents` are these in their order (`NOBODY` for columnar ones and who has left); `types` are the run's, by name, and
    `roster` says who is of which.
    """

    def __init__(self, plan: ShardPlan, agents: list[Agent], types: Mapping[str, Hosted], roster: Roster) -> None:
        self.plan = plan
        self.agents = agents
        self.roster = roster
        self.types = types
        self._own: dict[str, NDArray[np.int32]] = {}
        self._find_own()
        self._columnar = ColumnarTypes(
            {
                name: Type(
                    cast("type[ColumnarAgent]", one.kind),
                    list(one.fields),
                    one.activation,
                    self._own[name],
                    one.columns,
                )
                for name, one in types.items()
                if one.columns is not None
            },
            self.roster,
            None if plan.influence is None else plan.influence.keep_to,
        )
        for one in self._columnar.types.values():
            one.keeps = plan.saved or bool(plan.ahead)
        kinds = [one.kind for one in types.values()]
        self._keeper = Keepers([Keeper(kind, canonical=plan.trace_version > 1) for kind in kinds], self.roster)
        if plan.trace_version > 1:
            ids = range(plan.index, self.roster.size, plan.shards)
            alone = [at for at, one in enumerate(agents) if one is not NOBODY] if self._columnar else None
            self._keeper.keep(
                agents if alone is None else [agents[at] for at in alone],
                ids if alone is None else [ids[at] for at in alone],
                alone=False,
            )
        fields = [PublicFields(one.fields, name) for name, one in types.items()]
        self._fields = fields[0] if len(fields) == 1 else FieldsByType(fields, kinds, self.roster)
        self._touched: set[int] = set()
        self._changed: set[int] = set()
        self._rows: dict[int, bytes] = {}
        """What agents are packed to that changed since the last export or in the last tick, and not since then."""

    def _turn_over(self, tick: int, edge: Edge) -> list[int]:
        """Let agents be born and leave as `tick` begins; gives those born here."""
        left = np.array(edge.left, np.int32)
        self.roster.retire(left, tick)
        self._let_go(left)
        if self._columnar and len(left):
            self._columnar.retire()
        ids: list[int] = self.roster.spawn([(one.type, one.count) for one in edge.born], tick).tolist()
        newborn: list[int] = []
        agents: list[Agent] = []
        for of, own, columns in dealt(edge.born, ids, self.plan.index, self.plan.shards):
            if of in self._columnar.types:
                self._columnar.spawn(of, np.array(own, np.int32), columns)
                self.agents += [NOBODY] * len(own)
                continue
            made = make_agents(self.types[of].kind, columns, own)
            self.agents += made
            agents += made
            newborn += own
        if self.plan.trace_version > 1:
            self._keeper.keep(agents, newborn, alone=False)
        self._changed.update(newborn)
        if edge.born or edge.left:
            self._find_own()
        return newborn

    def _let_go(self, ids: NDArray[np.int32]) -> None:
        """Keep nothing of those of this shard's agents who have left."""
        shards = self.plan.shards
        for one in ids[ids % shards == self.plan.index].tolist():
            self.agents[one // shards] = NOBODY
            self._rows.pop(one, None)
            self._touched.discard(one)
            self._changed.discard(one)

    def _alone(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Those of these agents who take turns of their own, and not as one of a columnar type."""
        return ids[~self._columnar.among(ids)] if self._columnar else ids

    def _find_own(self) -> None:
        """By type, the ids of this shard's agents who live."""
        self._own = {name: self.roster.own(name, self.plan.index, self.plan.shards) for name in self.types}

    def _keep(self, ids: Sequence[int]) -> None:
        """Have these agents hold what a resumed run would. Raises ScenarioError for one that it would change."""
        saved = self.plan.saved
        if saved or self.plan.trace_version > 1:
            rows = self._keeper.keep([self.agents[one // self.plan.shards] for one in ids], ids, pack=saved)
            self._rows.update(zip(ids, rows, strict=saved))

    def columnar_row(self, id: int, tick: int) -> Agent | None:  # noqa: A002
        """A columnar agent before a tick, as one of its class, made for whoever asks; None for one who is not there."""
        return self._columnar.row(id, tick)

    def _restore_residents(self, state: ShardState) -> None:
        """Have the agents that a whole export gave. Raises CheckpointDamaged for those that do not fit."""
        shards = self.plan.shards
        if state.roster is not None:
            self.roster.restore(state.roster)
            own = len(range(self.plan.index, self.roster.size, shards))
            self.agents += [NOBODY] * (own - len(self.agents))
            self._let_go(self.roster.gone())
            self._find_own()
        gone = set(self.roster.gone().tolist()) if self.roster.anyone_left else ()
        if self._columnar:
            self._columnar.restore(state.columns, self._own)
        known = {one: packed for one, packed in state.agents.items() if one not in gone}
        for id, packed in known.items():  # noqa: A001
            try:
                self.agents[id // shards] = self._keeper.read(packed, id)
            except (msgspec.MsgspecError, IndexError) as error:
                raise CheckpointDamaged(
                    f"agent {id} of the checkpoint is not one of this society's: {error}. Resume with the society "
                    "that the run was begun with."
                ) from None
        self._touched = set(known)
        self._changed = set()
        self._rows = {}
