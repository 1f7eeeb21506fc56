"""Games among agents: who plays with whom, moves that are hidden until all have moved, payoffs, scores and past plays.

Normal form and trees: von Neumann and Morgenstern (1944), Kuhn (1953). Matching protocols as in experiments: partners
(fixed), strangers (random, each repetition), and round robin, in which each meets each once in a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, join_digests, state_digest
from populace.env.games.board import NO_PLAY, REASONS, Board
from populace.env.games.game import Game
from populace.env.games.matching import MATCHINGS, Ids, fixed_groups, random_groups, round_robin, seated
from populace.env.games.plays import NONE, Plays
from populace.env.games.shown import Sees, empty, numbers, view
from populace.env.part import Batch, Opening, Part, action, query
from populace.env.rounds import Exchange, GroupName, LastRound, Round
from populace.env.wholes import check_whole

By: TypeAlias = Literal["acts", "rounds"]
Matching: TypeAlias = Literal["random", "fixed", "round_robin"]

_COUNTS: Final = ("moves", "missing", "not_allowed", "forfeits", "repetitions")


class Games(Part):
    """Plays of one game, repetition after repetition.

    Each repetition, agents (all who live, or those of the type `players`) are matched into groups of as many as the
    game has roles: `random` anew each time, `fixed` as long as all of a group live, `round_robin` (two players) so that
    each meets each once in a cycle. Who is left over sits out. Seats, so roles, are dealt by lot; with `keep_roles`,
    fixed groups keep theirs.

    By `acts`, each stage takes a tick: who is to move does `ctx.act("game.move", move=...)`, hidden until the tick
    ends; a repetition begins when all plays of the one before are over. With `notify`, who is to move in the next tick
    is sent {'stage': name}, and so is due; in the first tick, a stage in which nobody moves waits for that. By
    `rounds`, a tick holds whole plays, `repetitions` of them with the same partners, a stage a round:
    `heard = await ctx.round("game", move)`. `populace.env.games.play(ctx, choose)` does either, so that an agent's code
    need not know.

    A missing move counts as the stage's default, or its player forfeits and the play ends; so does one that is not
    allowed in a round. By acts, those are refused: `no_play`, `not_to_move`, `already_moved`, `not_allowed`,
    `bad_arguments`. A member who leaves amid rounds ends its group's repetitions with that play.

    Agents see `role`, `seat`, `partners` (ids, in the order of seats), `frame`, `stage`, `moves` (what is allowed now;
    None where they are not to move), `so_far` (moves of this play's stages that are over, by stage and seat), `history`
    (their last `shown` plays, oldest first: own and others' moves and their payoff), `payoff` (of the last play) and
    `score` (of all). With `sees="numbers"` they see arrays: `seat` and `partner` (-1: none), `to_move`, `own_last`,
    `other_last` (the first number of a last move, a label by its place; NaN: none), `payoff` and `score`.

    `plays()` is the table of plays, of which the last `keep` are kept; each agent's last `memory` are found. Levers may
    set `frame` (a name of the game's frames) and `shown` (0: no history).
    """

    name = "game"
    unsaved = ("_cached", "_scores")
    settable: Mapping[str, Any] = {"frame": str, "shown": int}

    def __init__(
        self,
        game: Game,
        *,
        matching: Matching = "random",
        by: By = "acts",
        repetitions: int = 1,
        keep_roles: bool = False,
        memory: int = 10,
        shown: int | None = None,
        frame: str | None = None,
        keep: int = 10_000,
        players: str | None = None,
        notify: bool = False,
        sees: Sees = "all",
        name: str | None = None,
    ) -> None:
        """Raises ScenarioError for a game that is none, and for sizes and names that cannot be."""
        super().__init__(name)
        if not isinstance(game, Game):
            raise ScenarioError(f"Games({game!r:.60}): takes a populace.env.games.Game, such as prisoners_dilemma()")
        if matching not in MATCHINGS or by not in get_args(By) or sees not in get_args(Sees):
            raise ScenarioError(
                f"Games(matching={matching!r}, by={by!r}, sees={sees!r}): matching is one of {', '.join(MATCHINGS)}; "
                "by is acts or rounds; sees is all or numbers"
            )
        if matching == "round_robin" and game.seats != 2:
            raise ScenarioError(f"Games(matching='round_robin'): is for two players; {game.name!r} has {game.seats}")
        check_whole(type(self).__name__, 1, repetitions=repetitions, memory=memory, keep=keep)
        check_whole(type(self).__name__, 0, shown=memory if shown is None else shown)
        if by == "acts" and repetitions != 1:
            raise ScenarioError("Games(by='acts'): repetitions go on from tick to tick; `repetitions` is for rounds")
        self.game = game
        self.matching = matching
        self.by = by
        self.repetitions = repetitions
        self.keep_roles = keep_roles
        self.memory = memory
        self.keep = keep
        self.players = players
        self.notify = notify
        self.sees = sees
        self.frame = self._frame(next(iter(game.frames)) if frame is None else frame)
        self.shown = self._shown(memory if shown is None else shown)
        self.rounds_per_tick = len(game.stages) * repetitions
        self.heeds_blocks = True  # a move is no message, and no lever on mail keeps it from those who play
        self._seed = 0
        self._cached: tuple[int, Ids, Board, NDArray[np.int64]] | None = None

    def open(self, opening: Opening) -> None:
        """Start without plays. Raises ScenarioError where there is no such type of agents."""
        if self.players is not None and self.players not in opening.counts:
            there = ", ".join(opening.counts) or "no types"
            raise ScenarioError(f"part '{self.name}': there are no agents of type {self.players!r}; there are {there}")
        self._seed = opening.seed
        size = opening.agents
        self.score = np.zeros(size)
        self.payoff = np.zeros(size)
        self.played = np.zeros(size, np.int64)
        self.table = Plays(self.keep, self.game.seats, self.game.width, self.memory, size)
        self.counts = dict.fromkeys(_COUNTS, 0)
        self._seats: Ids = np.empty((0, self.game.seats), np.int32)
        self._order: Ids = np.empty(0, np.int32)
        self._step = 0
        self._board: Board | None = None
        self._scores: RowDigests | None = None

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for one that the constructor would refuse."""
        setattr(self, name, self._frame(value) if name == "frame" else self._shown(value))

    def _frame(self, name: str) -> str:
        if name not in self.game.frames:
            raise ScenarioError(f"{self.game.name!r} has no frame {name!r}; it has {', '.join(self.game.frames)}")
        return name

    def _shown(self, plays: int) -> int:
        if not 0 <= plays <= self.memory:
            raise ScenarioError(f"shown is how many past plays a player sees, 0 to memory = {self.memory}, not {plays}")
        return plays

    def plays(self) -> dict[str, NDArray[Any]]:
        """The kept plays, oldest first, as columns.

        `play` and `tick` (plays,) int; `players` int32, `payoffs` float64 and `forfeited` bool, (plays, seats); `moves`
        float64 (plays, width), which `game.moved(moves)` parts by stage.
        """
        return self.table.columns()

    def _now(self, tick: int) -> tuple[Ids, Board, NDArray[np.int64]]:
        """The groups of the tick, their plays, and each agent's place in them; from the snapshot and keyed draws.

        The place is play times seats plus seat, -1 for who sits out.
        """
        if self._cached is None or self._cached[0] != tick:
            board, seats = self._board, self._seats
            if board is None:
                seats = self._matched(tick)
                board = Board(self.game, len(seats))
            place = np.full(self.world.agents, NONE, np.int64)
            place[seats.ravel()] = np.arange(seats.size)
            self._cached = (tick, seats, board, place)
        return self._cached[1:]

    def _matched(self, tick: int) -> Ids:
        """Who plays with whom in a repetition that begins in this tick."""
        ids = self.world.ids(self.players)
        key = (self._seed, tick, f"{self.name}/match")
        if self.matching == "random":
            return random_groups(ids, self.game.seats, *key)
        if self.matching == "fixed":
            rows = fixed_groups(ids, self._seats, self.game.seats, *key)
            return rows if self.keep_roles else seated(rows, self._seed, tick, f"{self.name}/seats")
        return seated(round_robin(*self._cycle(tick)), self._seed, tick, f"{self.name}/seats")

    def _cycle(self, tick: int) -> tuple[Ids, int]:
        """The round robin's order of players and how far it has come; anew where it is through or players changed."""
        ids = self.world.ids(self.players)
        length = len(ids) - 1 + len(ids) % 2
        if self._step < length and np.array_equal(np.sort(self._order), ids):
            return self._order, self._step
        return random_groups(ids, 1, self._seed, tick, f"{self.name}/order").ravel(), 0

    def _begin(self, tick: int) -> tuple[Ids, Board, NDArray[np.int64]]:
        """`_now`, from here on as the part's state; called while the tick ends."""
        seats, board, place = self._now(tick)
        if self._board is None:
            if self.matching == "round_robin":
                self._order, self._step = self._cycle(tick)
                self._step += 1
            self._seats, self._board = seats, board
        return seats, board, place

    @action
    def move(self, tick: int, batch: Batch) -> None:
        """`move(move=)`: the agent's move in the stage that its play is at."""
        if self.by == "rounds":
            batch.refuse_all(np.ones(len(batch), bool), "no_play")
            return
        _, board, place = self._begin(tick)
        if self._column(batch, board, place):
            return
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if "move" not in args:
                batch.refuse(i, "bad_arguments")
            elif place[agent] == NONE:
                batch.refuse(i, "no_play")
            elif reason := board.put(*divmod(int(place[agent]), self.game.seats), args["move"]):
                batch.refuse(i, reason)
                self.counts["not_allowed"] += reason == "not_allowed"
            else:
                self.counts["moves"] += 1

    def _column(self, batch: Batch, board: Board, place: NDArray[np.int64]) -> bool:
        """Take moves that are all numbers of one type as one column; False where they aren't."""
        given = batch.alike("move")
        if given is None or given.dtype.kind not in "biuf" or given.ndim != 1:
            return False
        moves, at = given.astype(np.float64), place[batch.agents]
        found = np.full(len(batch), NO_PLAY, np.int8)
        todo = np.flatnonzero(at != NONE)
        nth = np.unique(batch.agents[todo], return_index=True)[1]
        rows = todo[nth]
        found[rows] = board.put_column(*np.divmod(at[rows], self.game.seats), moves[rows])
        for row in np.delete(todo, nth).tolist():  # an agent's further ones, as they stand in the batch
            found[row : row + 1] = board.put_column(
                *np.divmod(at[row : row + 1], self.game.seats), moves[row : row + 1]
            )
        for code, reason in enumerate(REASONS, 1):
            batch.refuse_all(found == code, reason)
        self.counts["moves"] += int((found == 0).sum())
        self.counts["not_allowed"] += int((found == 3).sum())
        return True

    def advance(self, tick: int) -> Iterator[tuple[int, Any]] | None:
        """End the stage; where all plays are over, settle them."""
        if self.by == "rounds":
            self._cached = None
            return None
        seats, board, _ = self._begin(tick)
        self._cached = None
        if not (self.notify and tick == 0 and not board.given.any()):  # nobody has had word in the first tick
            board.close()
            if board.over.all():
                self._settle(tick, seats, board)
                self._board = None
        return self._notices() if self.notify else None

    def _notices(self) -> Iterator[tuple[int, Any]]:
        """Word to who is to move in the next tick; where a repetition begins it isn't known yet who, so to all."""
        if self._board is None:
            for agent in self.world.ids(self.players).tolist():
                yield agent, {"stage": self.game.stages[0].name}
            return
        for play, seat in np.argwhere(self._board.to_move()).tolist():
            yield int(self._seats[play, seat]), {"stage": self.game.stages[int(self._board.stage[play])].name}

    def _settle(self, tick: int, seats: Ids, board: Board) -> None:
        payoffs, ids = board.payoffs(), seats.ravel()
        self.payoff[ids] = payoffs.ravel()
        self.score[ids] += payoffs.ravel()
        self.played[ids] += 1
        self._put_scores(ids)
        self.counts["missing"] += int(board.missing.sum())
        self.counts["forfeits"] += int(board.forfeited.sum())
        self.counts["repetitions"] += 1
        if len(seats):
            self.table.add(tick, seats, board.flat, payoffs, board.forfeited)

    def groups(self, tick: int) -> Mapping[GroupName, Iterable[int]]:
        """The groups of the tick, by number, members in the order of their seats."""
        return dict(enumerate(self._now(tick)[0].tolist())) if self.by == "rounds" else {}

    def round(self, now: Round) -> Mapping[int, Any] | LastRound:
        """Each hears what `observe` shows, as of the end of the round, and `over`: '', `over`, `forfeit` or `left`."""
        boards, over = self._gone_through(now.members, [*now.before, now.said])
        heard = {}
        for seat, agent in enumerate(now.members):
            if agent in now.said:
                heard[agent] = view(self, boards[-1], 0, seat, list(now.members), boards[:-1]) | {"over": over}
        return LastRound(heard, over) if over else heard

    def _gone_through(self, members: Sequence[int], rounds: Sequence[Mapping[int, Any]]) -> tuple[list[Board], str]:
        """The plays of one group as these rounds make them, and why they are over; the last board is at work till then.

        Where they are over, an untouched board stands last.
        """
        boards = [Board(self.game, 1)]
        for said in rounds:
            board = boards[-1]
            for seat, agent in enumerate(members):
                if said.get(agent) is not None:
                    board.put(0, seat, said[agent])
            board.close()
            left = len(said) < len(members)
            if board.over[0]:
                boards.append(Board(self.game, 1))
                if left:
                    return boards, "forfeit" if board.forfeited.any() else "left"
                if len(boards) > self.repetitions:
                    return boards, "forfeit" if board.forfeited.any() and self.repetitions == 1 else "over"
        return boards, ""

    def rounds_ended(self, tick: int, exchanges: Sequence[Exchange]) -> Iterable[tuple[int, Any]] | None:
        """Take all plays of the tick: a play that its members left is ended with defaults, or forfeited."""
        if self.by != "rounds":
            return None
        seats, _, _ = self._begin(tick)
        self._board = None
        held = {one.group: self._gone_through(one.members, one.said) for one in exchanges}
        played: list[list[Board]] = []
        for group in range(len(seats)):
            boards, over = held.get(group, ([Board(self.game, 1)], ""))
            if not over and (len(boards) == 1 or not np.isnan(boards[-1].flat).all()):
                while not boards[-1].over[0]:
                    boards[-1].close()
            elif over or len(boards) > 1:
                boards = boards[:-1]
            played.append(boards)
        self._count_said(exchanges)
        for nth in range(max(map(len, played), default=0)):
            rows = [group for group, boards in enumerate(played) if len(boards) > nth]
            self._settle(tick, seats[rows], _joined(self.game, [played[group][nth] for group in rows]))
        return None

    def _count_said(self, exchanges: Sequence[Exchange]) -> None:
        """Count moves by what became of them."""
        for one in exchanges:
            for at, said in enumerate(one.said):
                board = self._gone_through(one.members, one.said[:at])[0][-1]
                for seat, agent in enumerate(one.members):
                    if said.get(agent) is not None:
                        reason = board.put(0, seat, said[agent])
                        self.counts["moves"] += not reason
                        self.counts["not_allowed"] += reason == "not_allowed"

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, Sequence[Any] | NDArray[Any]] | None:
        """What the class says, by `sees`."""
        seats, board, place = self._now(tick)
        if self.sees == "numbers":
            return numbers(self, board, seats, agents)
        rows = []
        for agent, at in zip(agents.tolist(), place[agents].tolist(), strict=True):
            if at != NONE:
                play, seat = divmod(at, self.game.seats)
                rows.append(view(self, board, play, seat, seats[play].tolist(), []))
            else:
                rows.append(empty(self, agent))
        names = rows[0] if rows else {}
        return {name: [row[name] for row in rows] for name in names}

    @query
    def history(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`history(n=shown)`: one's own last n plays (at most `shown`), oldest first, as `history` is seen."""
        return [self._history(agent, **one) for agent, one in zip(agents, args, strict=True)]

    def _history(self, agent: int, /, *, n: Any = None, **rest: Any) -> list[dict[str, Any]]:
        n = self.shown if n is None else n
        if rest or type(n) is not int or n < 0:
            raise ValueError(f"n is how many past plays, 0 or more, got {n!r} {rest or ''}")
        found: list[dict[str, Any]] = empty(self, agent)["history"]
        return found[len(found) - min(n, len(found)) :]

    @query
    def scores(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`scores(n=10)`: the n highest scores, with `agents` and `scores`; equals in an order that is drawn."""
        found = []
        for one in args:
            n = one.get("n", 10)
            if not one.keys() <= {"n"} or type(n) is not int or n < 1:
                raise ValueError(f"n is how many scores, from 1, got {one!r}")
            ids = self.world.ids(self.players)
            ids = random_groups(ids, 1, self._seed, self.world.tick, f"{self.name}/scores").ravel()
            best = ids[np.argsort(-self.score[ids], kind="stable")][:n]
            found.append({"agents": best.tolist(), "scores": self.score[best].tolist()})
        return found

    def grow(self, ids: NDArray[np.int32]) -> None:
        """The newborns, who have played nothing."""
        self.score, self.payoff = (np.concatenate((one, np.zeros(len(ids)))) for one in (self.score, self.payoff))
        self.played = np.concatenate((self.played, np.zeros(len(ids), np.int64)))
        self.table.grow(len(ids))
        self._put_scores(ids)

    def digest(self) -> bytes:
        """The digests of plays and scores, kept as plays end, and that of the repetition at work."""
        if self._scores is None:
            self._scores = RowDigests("scores", "score", "payoff", "played")
            self._put_scores(np.arange(len(self.score)))
        return join_digests(state_digest(self._at_work()), self.table.digest(), self._scores.digest())

    def _put_scores(self, ids: NDArray[np.integer]) -> None:
        if self._scores is not None:
            self._scores.put(ids, ids, self.score[ids], self.payoff[ids], self.played[ids])

    def _at_work(self) -> dict[str, Any]:
        return {
            "counts": dict(self.counts),
            "seats": self._seats.copy(),
            "order": self._order.copy(),
            "step": self._step,
            "board": None if self._board is None else self._board.state(),
        }

    def state(self) -> dict[str, Any]:
        """Scores, plays, and the repetition that is at work."""
        return {
            "score": self.score.copy(),
            "payoff": self.payoff.copy(),
            "played": self.played.copy(),
            "table": self.table.state(),
            **self._at_work(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a part with the same game, `keep` and `memory`. Raises ScenarioError for another."""
        moves, last = state["table"]["moves"], state["table"]["last"]
        if (
            moves.shape[1:] != (self.game.width,)
            or last.shape != (self.world.agents, self.memory)
            or (len(moves) > self.keep)
        ):
            raise ScenarioError(
                f"part '{self.name}' keeps {self.keep} plays of {self.game.width} moves and {self.memory} of each of "
                f"{self.world.agents} agents; the checkpoint has {moves.shape} and {last.shape}"
            )
        self.score, self.payoff = state["score"].copy(), state["payoff"].copy()
        self.played, self.counts = state["played"].copy(), dict(state["counts"])
        self._seats, self._order = state["seats"].reshape(-1, self.game.seats).copy(), state["order"].copy()
        self._step = int(state["step"])
        self._board = None if state["board"] is None else Board.restored(self.game, state["board"])
        self.table.restore(state["table"])
        self._cached, self._scores = None, None


def _joined(game: Game, boards: Sequence[Board]) -> Board:
    """Boards of one play each as one."""
    found = Board(game, 0)
    for name in ("flat", "stage", "given", "forfeited", "missing"):
        setattr(found, name, np.concatenate([getattr(one, name) for one in boards]))
    return found
