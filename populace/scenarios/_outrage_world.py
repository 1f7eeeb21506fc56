"""The messages of `outrage`, and their moderator: it flags heated ones, and accounts or ties may be cut off for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env import Part, action, query, signal
from populace.env.part import Batch, Opening


class Moderation(Part):
    """Carries messages over ties of the part `network`, and flags those at least as heated as `society.flag_from`.

    Agents act with `tell(to=, text=, heat=)`; the friend reads {'from', 'text', 'heat', 'tie'} in the next tick.
    Refusals: `bad_arguments`, `no_tie`, `suspended`. `friends()` looks up whom one can write to, with the ties'
    strength. A lever may set `suspended`, the ids of accounts that may not write; and `cutting`: while it holds, a tie
    that a flagged message went over is cut, in both directions and for good. Signal: `flagged`, of each agent how many
    flagged messages it has sent.
    """

    name = "moderation"
    settable: Mapping[str, Any] = {"suspended": list[int], "cutting": bool}
    suspended: Sequence[int] = ()
    cutting = False

    def open(self, opening: Opening) -> None:
        """Nothing is flagged or cut."""
        self.flags = np.zeros(opening.agents, np.int64)
        self.sent = 0
        self.cut: list[tuple[int, int]] = []

    @action
    def tell(self, tick: int, batch: Batch) -> list[tuple[int, Any]]:
        """`tell(to=, text=, heat=)`: write to a friend."""
        mail: list[tuple[int, Any]] = []
        ties, silent, over, cut_now = self.world.network.out, set(self.suspended), set(self.cut), []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            to, heat = args.get("to"), args.get("heat")
            if set(args) != {"to", "text", "heat"} or type(to) is not int or type(heat) is not float:
                batch.refuse(i, "bad_arguments")
            elif agent in silent:
                batch.refuse(i, "suspended")
            elif not 0 <= to < len(self.flags) or not ties.has(agent, to) or (agent, to) in over:
                batch.refuse(i, "no_tie")
            else:
                tie = float(ties.find(np.array([agent]), np.array([to]))[0])
                mail.append((to, {"from": agent, "text": args["text"], "heat": heat, "tie": tie}))
                self.sent += 1
                if heat >= self.world.parameters.flag_from:
                    self.flags[agent] += 1
                    cut_now.append((agent, to))
        if self.cutting:
            both = (pair for one, other in cut_now for pair in ((one, other), (other, one)))
            self.cut += [pair for pair in dict.fromkeys(both) if pair not in over]
        return mail

    @query
    def friends(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, list[Any]]]:
        """`friends()`: {'agents': ids, 'ties': strengths} of those whom one can write to; none while suspended."""
        ties, silent, over = self.world.network.out, set(self.suspended), set(self.cut)
        found = []
        for agent in agents:
            both = [] if agent in silent else zip(ties.of(agent).tolist(), ties.weights_of(agent).tolist(), strict=True)
            open_ = [(to, tie) for to, tie in both if (agent, to) not in over]
            found.append({"agents": [to for to, _ in open_], "ties": [tie for _, tie in open_]})
        return found

    @signal
    def flagged(self) -> NDArray[np.int64]:
        """How many flagged messages each agent has sent."""
        return self.flags

    def cut_ties(self) -> int:
        """How many ties have been cut."""
        return len(self.cut) // 2

    def state(self) -> dict[str, Any]:
        """Flags, what was sent, and what is cut."""
        return {"flags": self.flags, "sent": self.sent, "cut": np.array(self.cut, np.int64).reshape(-1, 2)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.flags, self.sent = state["flags"].copy(), int(state["sent"])
        self.cut = [(int(one), int(other)) for one, other in state["cut"]]
