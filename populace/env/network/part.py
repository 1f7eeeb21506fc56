"""A directed, weighted social network: who is tied to whom, and how strongly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, join_digests
from populace.env.network import graphs, homophily
from populace.env.network.assortativity import assortativity
from populace.env.network.csr import Csr, build, compact, frozen, is_one, ones, rows_of
from populace.env.network.graphs import Setup
from populace.env.part import Batch, Opening, Part, action, query


class Network(Part):
    """Edges from agents to agents. An edge from A to B is A's: A follows B, listens to B, trusts B by its weight.

    Make one with `watts_strogatz`, `barabasi_albert`, `stochastic_block`, `homophily` or `edges`. A
    mutual tie is two edges. There are no edges to oneself and no repeated ones; new edges weigh 1.0.

    Agents act with `follow(target=, weight=1.0)`, `unfollow(target=)` and `set_weight(target=, weight=)`, each on
    their own edges; refusals are `bad_arguments`, `unknown_target`, `self_loop`, `bad_weight`, `already_following`,
    `not_following`, and `retired` for a target who has left. What they change shows from the next tick on. Who is born
    has no edges yet, and the edges from and to those who leave go with them.

    A lever may set `frozen`: while it is true, all that agents would change is refused as `frozen`; and `cut`, a list
    of edges [source, target]: while it holds, these carry nothing and are shown to nobody. They are there again after.
    """

    name = "network"
    settable: Mapping[str, Any] = {"frozen": bool, "cut": list[tuple[int, int]]}
    unsaved = ("_in", "_edits", "_digests", "_standing", "_mutual", "_ties")
    frozen = False
    cut: Sequence[tuple[int, int]] = ()

    def __init__(
        self,
        source: ArrayLike,
        target: ArrayLike,
        weight: ArrayLike | None = None,
        *,
        size: int | None = None,
        name: str | None = None,
        where: str = "Network",
    ) -> None:
        """The edges (source[i], target[i]) among `size` agents, all there are unless it says otherwise.

        Raises ScenarioError, beginning with `where`, for edges that cannot be; without a size, when it is opened.
        """
        super().__init__(name)
        self._where = where
        self._given = (source, target, weight)
        self._ties: graphs.Ties | None = None
        self._rows = _EMPTY if size is None else build(size, source, target, weight, where)
        self._mutual: Csr | None = None
        self._in: Csr | None = None
        self._standing: tuple[Csr, Csr] | None = None
        self._size = size
        self._edits: dict[tuple[int, int], float] = {}
        self._digests: RowDigests | None = None

    @classmethod
    def watts_strogatz(cls, setup: Setup, *, neighbours: int, rewire: float, name: str | None = None) -> Self:
        """A small world of mutual ties: a ring in which each agent has `neighbours`, with a share rewired.

        `neighbours` (even) is the mean degree; each tie is rewired, at both ends, with probability `rewire`. Watts
        and Strogatz 1998, doi:10.1038/30918.
        """
        ties = graphs.watts_strogatz(setup, name or cls.name, neighbours=neighbours, rewire=rewire)
        return cls._tied(setup, ties, mutual=True, name=name)

    @classmethod
    def barabasi_albert(cls, setup: Setup, *, links: int, mutual: bool = True, name: str | None = None) -> Self:
        """A network with hubs: each agent, in order of id, ties itself to `links` earlier ones.

        An earlier one is drawn in proportion to the ties that it has by then. Unless `mutual`, the newcomer
        follows and is not followed. Barabasi and Albert 1999, doi:10.1126/science.286.5439.509.
        """
        ends = graphs.barabasi_albert(setup, name or cls.name, links=links)
        return cls._made(setup, ends, mutual=mutual, name=name)

    @classmethod
    def stochastic_block(
        cls,
        setup: Setup,
        *,
        probabilities: ArrayLike,
        sizes: Sequence[int] | None = None,
        blocks: ArrayLike | None = None,
        mutual: bool = True,
        name: str | None = None,
    ) -> Self:
        """A network of blocks: a tie from block a to block b is there with probability `probabilities[a][b]`.

        Blocks are given by `sizes` (the first agents are the first block, and so on) or by `blocks` (the block of
        each agent, from 0). Mutual ties need a symmetric table. Holland, Laskey and Leinhardt 1983,
        doi:10.1016/0378-8733(83)90021-7.
        """
        ends = graphs.stochastic_block(
            setup, name or cls.name, sizes=sizes, blocks=blocks, probabilities=probabilities, mutual=mutual
        )
        return cls._made(setup, ends, mutual=mutual, name=name)

    @classmethod
    def homophily(
        cls,
        setup: Setup,
        attributes: Mapping[str, ArrayLike] | ArrayLike,
        *,
        mean_degree: float,
        strength: float,
        name: str | None = None,
    ) -> Self:
        """Mutual ties among those who are alike in `attributes` (columns by name, or a table of numbers).

        Every agent has `mean_degree` ties on average, exactly. Two agents alike in everything are exp(strength)
        times likelier to be tied than two at opposite ends; 0 is no homophily, 5 some, 15 much. The model, its
        sources and its distance are in `populace.env.network.homophily`.
        """
        ends = homophily.homophily(setup, name or cls.name, attributes, mean_degree=mean_degree, strength=strength)
        return cls._made(setup, ends, mutual=True, name=name)

    @classmethod
    def edges(
        cls,
        setup: Setup,
        source: ArrayLike,
        target: ArrayLike,
        weight: ArrayLike | None = None,
        *,
        mutual: bool = False,
        name: str | None = None,
        where: str = "Network.edges",
    ) -> Self:
        """These edges; with `mutual`, each pair is given once and makes two.

        Of a file: `Network.edges(setup, *populace.read_edge_list(path))`. Errors name `where` the edges are from.
        """
        if mutual:
            source, target = np.concatenate([source, target]), np.concatenate([target, source])
            weight = None if weight is None else np.concatenate([weight, weight])
        return cls(source, target, weight, size=setup.agents, name=name, where=where)

    @classmethod
    def _made(cls, setup: Setup, ends: Callable[[], graphs.Ends], *, mutual: bool, name: str | None) -> Self:
        ties = (graphs.mutual_ties if mutual else graphs.one_way_ties)(setup.agents, ends)
        return cls._tied(setup, ties, mutual=mutual, name=name)

    @classmethod
    def _tied(cls, setup: Setup, ties: graphs.Ties, *, mutual: bool, name: str | None) -> Self:
        made = cls((), (), size=setup.agents, name=name)

        def first() -> Csr:
            rows = ties()
            made._mutual = rows if mutual else None
            return rows

        made._ties = first
        return made

    @property
    def _out(self) -> Csr:
        """The edges by source; ties that were not asked for yet are made first."""
        if self._ties is not None:
            ties, self._ties = self._ties, None
            self._rows = ties()
        return self._rows

    @_out.setter
    def _out(self, rows: Csr) -> None:
        self._rows, self._ties = rows, None

    def open(self, opening: Opening) -> None:
        """Raises ScenarioError when the network was made for another number of agents, or names agents not there."""
        if self._size is None:
            self._size = opening.agents
            self._out = build(opening.agents, *self._given, self._where)
        if self._size != opening.agents:
            raise ScenarioError(f"part '{self.name}' was made for {self._size} agents, and there are {opening.agents}")
        self._given = ([], [], None)

    @property
    def size(self) -> int:
        """How many agents there are."""
        return self._out.size if self._size is None else self._size

    @property
    def edge_count(self) -> int:
        """How many directed edges there are; a mutual tie is two."""
        return len(self.out.targets)

    @property
    def out(self) -> Csr:
        """The edges by source, as of the start of the tick, without those that are cut; read-only."""
        if not self.cut:
            return self._out
        if self._standing is None or self._standing[0] is not self._out:
            source, target = np.array(self.cut, np.int64).T
            there = ~np.isnan(self._out.find(source, target))
            pairs = np.unique(np.column_stack((source[there], target[there])), axis=0)
            self._standing = self._out, self._out.edit(pairs[:, 0], pairs[:, 1], np.full(len(pairs), np.nan))
        return self._standing[1]

    @property
    def incoming(self) -> Csr:
        """The edges by target, as of the start of the tick; read-only."""
        if self._in is None:
            out = self.out
            self._in = out if out is self._mutual else out.reverse()
        return self._in

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for an edge to cut that names nobody."""
        if name == "cut":
            if bad := [pair for pair in value if not all(0 <= one < self.size for one in pair)]:
                raise ScenarioError(
                    f"part '{self.name}': cut names {list(bad[0])}, but ids go from 0 to {self.size - 1}"
                )
            if list(value) == list(self.cut):
                return
            self._in = self._standing = None
        super().set_parameter(name, value)

    def out_degree(self) -> NDArray[np.int64]:
        """How many edges go out from each agent."""
        return np.diff(self.out.offsets)

    def in_degree(self) -> NDArray[np.int64]:
        """How many edges come in to each agent."""
        return np.bincount(self.out.targets, minlength=self.size)

    def to_igraph(self) -> Any:
        """The network as a directed igraph.Graph with the edge attribute `weight`, for other measures."""
        import igraph

        graph = igraph.Graph(n=self.size, edges=np.column_stack([self.out.sources(), self.out.targets]), directed=True)
        graph.es["weight"] = self.out.weights.tolist()
        return graph

    def assortativity(self, values: ArrayLike) -> float:
        """How alike the two ends of edges are in `values` (one an agent), from -1 to 1.

        See `populace.env.network.assortativity`; nan where it is not defined.
        """
        return assortativity(self.out, values)

    @action
    def follow(self, tick: int, batch: Batch) -> None:
        """`follow(target=, weight=1.0)`: make an edge to the target."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            reason = _arguments(args, {"target"}, {"weight"}) or self._unfit(agent, args, there=False)
            if reason:
                batch.refuse(i, reason)
            else:
                self._edits[agent, args["target"]] = float(args.get("weight", 1.0))

    @action
    def unfollow(self, tick: int, batch: Batch) -> None:
        """`unfollow(target=)`: remove the edge to the target."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            reason = _arguments(args, {"target"}, set()) or self._unfit(agent, args, there=True)
            if reason:
                batch.refuse(i, reason)
            else:
                self._edits[agent, args["target"]] = math.nan

    @action
    def set_weight(self, tick: int, batch: Batch) -> None:
        """`set_weight(target=, weight=)`: weigh the edge to the target anew."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            reason = _arguments(args, {"target", "weight"}, set()) or self._unfit(agent, args, there=True)
            if reason:
                batch.refuse(i, reason)
            else:
                self._edits[agent, args["target"]] = float(args["weight"])

    def _unfit(self, agent: int, args: dict[str, Any], *, there: bool) -> str:
        if self.frozen:
            return "frozen"
        target, weight = args["target"], args.get("weight", 1.0)
        if type(target) is not int or type(weight) not in (int, float):
            return "bad_arguments"
        if not 0 <= target < self.size:
            return "unknown_target"
        if self.world.roster.anyone_left and not self.world.roster.lives([target])[0]:
            return "retired"
        if target == agent:
            return "self_loop"
        if not -_HEAVIEST <= weight <= _HEAVIEST:
            return "bad_weight"
        edit = self._edits.get((agent, target))
        follows = self._out.has(agent, target) if edit is None else not math.isnan(edit)
        if follows != there:
            return "not_following" if there else "already_following"
        return ""

    def advance(self, tick: int) -> None:
        """Rebuild the rows with the tick's changes, if there are any."""
        if self._edits:
            pairs = np.array(list(self._edits), dtype=np.int64)
            weights = np.fromiter(self._edits.values(), dtype=np.float64, count=len(pairs))
            self._take_edits(pairs, weights)
            self._out = self._out.edit(pairs[:, 0], pairs[:, 1], weights)
            self._in = None
            self._edits.clear()

    def grow(self, ids: NDArray[np.int32]) -> None:
        """The newborns, with no edges yet."""
        if self._key_base == self.size:
            self._digests = None  # from now on edges are called otherwise
        out = self._out
        offsets = np.concatenate((out.offsets, np.full(len(ids), out.offsets[-1])))
        self._out, self._in, self._size = Csr(offsets, out.targets, out.weights), None, len(offsets) - 1

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """Remove the edges from and to those who leave."""
        sources = self._out.sources()
        rows = np.flatnonzero(np.isin(sources, ids) | np.isin(self._out.targets, ids))
        if len(rows):
            pairs = np.column_stack((sources[rows], self._out.targets[rows])).astype(np.int64)
            weights = np.full(len(rows), np.nan)
            self._take_edits(pairs, weights)
            self._out, self._in = self._out.edit(pairs[:, 0], pairs[:, 1], weights), None

    @property
    def _key_base(self) -> int:
        """What a source is multiplied by to call an edge by one number: the size, or more once agents were born."""
        return self.size if self.size == self.world.roster.first else _MOST_AGENTS

    def digest(self) -> bytes:
        """16 bytes over the edges. The first takes all of them; from then on only those that change."""
        if self._digests is None:
            self._digests = self._digests_of_all()
        return join_digests(self.size, self._digests.digest())

    def _digests_of_all(self) -> RowDigests:
        """The digests of all edges; of rows that another network has too they are taken once."""
        rows, base, digests = self._out, self._key_base, RowDigests("edges", "weight")
        if base in rows.totals:
            digests.add_total(rows.totals[base])
            return digests
        for start in range(0, rows.size, _CHUNK):
            offsets = rows.offsets[start : start + _CHUNK + 1]
            keys = np.repeat(np.arange(start, start + len(offsets) - 1) * base, np.diff(offsets))
            keys += rows.targets[offsets[0] : offsets[-1]]
            digests.add(keys, rows.weights[offsets[0] : offsets[-1]])
        if not rows.targets.flags.writeable:
            rows.totals[base] = digests.total()
        return digests

    def _take_edits(self, pairs: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        """Old edges out of the digest, new ones in."""
        if self._digests is not None:
            keys, old = pairs[:, 0] * self._key_base + pairs[:, 1], self._out.find(pairs[:, 0], pairs[:, 1])
            there, stays = ~np.isnan(old), ~np.isnan(weights)
            self._digests.remove(keys[there], old[there])
            self._digests.add(keys[stays], weights[stays])

    @query
    def neighbors(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[int]]:
        """`neighbors(agent=...)`: whom an agent follows, by id; the asking agent unless named."""
        return [self.out.of(one).tolist() for one in self._asked(agents, args)]

    @query
    def ties(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, list[Any]]]:
        """`ties(agent=...)`: whom an agent follows and with what weight, as {'agents': [...], 'weights': [...]}."""
        return [
            {"agents": self.out.of(one).tolist(), "weights": self.out.weights_of(one).tolist()}
            for one in self._asked(agents, args)
        ]

    @query
    def followers(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[int]]:
        """`followers(agent=...)`: who follows an agent, by id."""
        return [self.incoming.of(one).tolist() for one in self._asked(agents, args)]

    @query
    def mutual(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[int]]:
        """`mutual(agent=...)`: whom an agent follows and is followed by, by id."""
        rows = self._asked(agents, args)
        return [np.intersect1d(self.out.of(one), self.incoming.of(one), assume_unique=True).tolist() for one in rows]

    @query
    def degree(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, int]]:
        """`degree(agent=...)`: how many an agent follows and is followed by, as {'out': ..., 'in': ...}."""
        rows = self._asked(agents, args)
        return [{"out": len(self.out.of(one)), "in": len(self.incoming.of(one))} for one in rows]

    def _asked(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[int]:
        asked = [one.get("agent", agent) for agent, one in zip(agents, args, strict=True)]
        for agent, one in zip(asked, args, strict=True):
            if not one.keys() <= {"agent"} or type(agent) is not int or not 0 <= agent < self.size:
                raise ValueError(f"the one argument is agent=..., an id from 0 to {self.size - 1}; got {one}")
        return asked

    def table_rows(self, opening: bool) -> Mapping[str, Mapping[str, Any]]:
        """Its edges as the run begins; what agents change of them later is on record as their actions."""
        if not opening:
            return {}
        return {"ties": {"source": self.out.sources(), "target": self.out.targets, "weight": self.out.weights}}

    def state(self) -> dict[str, Any]:
        """The rows of edges; no weights where all are 1.0."""
        weights = self._out.weights
        return {
            "offsets": self._out.offsets,
            "targets": self._out.targets,
            "weights": np.zeros(0) if is_one(compact(weights)) else weights,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of the same number of agents."""
        if len(state["offsets"]) != self.world.agents + 1:
            had = len(state["offsets"]) - 1
            raise ScenarioError(f"part '{self.name}' has {had} agents in the checkpoint, not {self.world.agents}")
        self._size = self.world.agents
        targets = _own(state["targets"], np.int32)
        weights = np.array(state["weights"], np.float64)
        self._out = rows_of(
            _own(state["offsets"], np.int64), targets, compact(weights) if len(weights) else ones(len(targets))
        )
        self._in = None
        self._edits.clear()
        self._digests = None


_EMPTY = build(1, [], [], None, "Network")
_HEAVIEST = 1e300
_MOST_AGENTS = 2**31
_CHUNK = 8192
"""Agents whose edges' digests are taken at once."""


def _own(column: Any, dtype: Any) -> NDArray[Any]:
    """A column that nobody writes to, copied where somebody might."""
    given = np.asarray(column, dtype)
    return given if not given.flags.writeable and given.flags.owndata else frozen(given.copy())


def _arguments(args: dict[str, Any], needed: set[str], optional: set[str]) -> str:
    return "" if needed <= args.keys() <= needed | optional else "bad_arguments"
