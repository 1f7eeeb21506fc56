"""Games that experiments use, with their usual sizes. Each is a `Game`; write another in the same way."""

from __future__ import annotations

import numpy as np

from populace.core.errors import ScenarioError
from populace.env.games.game import Floats, Game, Moved, Span, Stage, normal_form


def prisoners_dilemma(
    temptation: float = 5.0, reward: float = 3.0, punishment: float = 1.0, sucker: float = 0.0
) -> Game:
    """The prisoner's dilemma with Axelrod's payoffs (1980, doi:10.1177/002200278002400101).

    Its frames are those of Liberman, Samuels and Ross (2004, doi:10.1177/0146167204264004). Raises ScenarioError unless
    temptation > reward > punishment > sucker.
    """
    if not temptation > reward > punishment > sucker:
        raise ScenarioError("prisoners_dilemma: temptation > reward > punishment > sucker makes it one")
    return normal_form(
        "prisoner's dilemma",
        ("cooperate", "defect"),
        [
            [[reward, reward], [sucker, temptation]],
            [[temptation, sucker], [punishment, punishment]],
        ],
        frames={
            "neutral": "You and another player each choose at the same time.",
            "community": "This is the Community Game. You and another player each choose at the same time.",
            "wall_street": "This is the Wall Street Game. You and another player each choose at the same time.",
        },
    )


def rock_paper_scissors(win: float = 1.0, draw: float = 0.0, loss: float = -1.0) -> Game:
    """Paper beats rock, scissors paper, rock scissors."""
    table = [[[(draw, draw), (loss, win), (win, loss)][(b - a) % 3] for b in range(3)] for a in range(3)]
    frames = {"neutral": "Rock beats scissors, scissors beats paper, paper beats rock."}
    return normal_form("rock, paper, scissors", ("rock", "paper", "scissors"), table, frames=frames)


def stag_hunt(stag: float = 4.0, hare: float = 3.0, alone: float = 0.0) -> Game:
    """Two hunt a stag together, or each a hare; who waits for the stag alone gets `alone` (Skyrms 2004)."""
    return normal_form("stag hunt", ("stag", "hare"), [[[stag, stag], [alone, hare]], [[hare, alone], [hare, hare]]])


def chicken(both_swerve: float = 3.0, swerve: float = 2.0, straight: float = 4.0, crash: float = 0.0) -> Game:
    """Who swerves loses to who goes straight, and two who go straight crash (Rapoport and Chammah 1966)."""
    table = [[[both_swerve] * 2, [swerve, straight]], [[straight, swerve], [crash] * 2]]
    return normal_form("chicken", ("swerve", "straight"), table)


def ultimatum(pie: int = 10) -> Game:
    """One offers a share of the pie; the other takes it, or both get nothing (Gueth et al. 1982)."""

    def payoff(moved: Moved) -> Floats:
        offer, taken = moved["offer"][:, 0], moved["answer"][:, 0] == 0
        return np.column_stack([(pie - offer) * taken, offer * taken])

    stages = (Stage("offer", Span(0, pie), (0,)), Stage("answer", ("accept", "reject"), (1,)))
    return Game("ultimatum", ("proposer", "responder"), stages, payoff)


def dictator(pie: int = 10) -> Game:
    """One gives what it likes of the pie; the other has no say (Forsythe et al. 1994)."""

    def payoff(moved: Moved) -> Floats:
        gift = moved["give"][:, 0]
        return np.column_stack([pie - gift, gift])

    return Game("dictator", ("dictator", "recipient"), (Stage("give", Span(0, pie), (0,)),), payoff)


def trust(endowment: int = 10, factor: int = 3) -> Game:
    """What one sends is multiplied; the other sends back what it likes of that (Berg, Dickhaut and McCabe 1995)."""

    def tripled(moved: Moved) -> Floats:
        return factor * moved["send"][:, 0]

    def payoff(moved: Moved) -> Floats:
        sent, back = moved["send"][:, 0], moved["back"][:, 0]
        return np.column_stack([endowment - sent + back, factor * sent - back])

    back = Stage("back", Span(0, factor * endowment), (1,), default=0, most=tripled)
    return Game("trust", ("investor", "trustee"), (Stage("send", Span(0, endowment), (0,), default=0), back), payoff)


def public_goods(
    players: int = 4,
    endowment: int = 20,
    share: float = 0.4,
    *,
    punishment: bool = True,
    points: int = 10,
    cost: float = 1.0,
    effect: float = 3.0,
) -> Game:
    """Each keeps what it doesn't give, and gets `share` of all that is given; then each may punish each other.

    A point of punishment costs the punisher `cost` and the punished `effect` (Fehr and Gaechter 2002,
    doi:10.1038/415137a: 20, 0.4, 10, 1, 3). A move of the stage `punish` is a list of points, one for each seat.
    """

    def payoff(moved: Moved) -> Floats:
        given = moved["give"]
        earned: Floats = endowment - given + share * given.sum(axis=1, keepdims=True)
        if not punishment:
            return earned
        dealt = moved["punish"]
        net: Floats = earned - cost * dealt.sum(axis=2) - effect * dealt.sum(axis=1)
        return net

    stages: tuple[Stage, ...] = (Stage("give", Span(0, endowment), default=0),)
    if punishment:
        stages += (Stage("punish", Span(0, points, each=True), default=0),)
    return Game("public goods", ("member",) * players, stages, payoff)


def guessing(players: int = 4, p: float = 2 / 3, high: float = 100.0, prize: float = 1.0) -> Game:
    """Each names a number; nearest to p times the mean wins, and winners share the prize (Nagel 1995)."""

    def payoff(moved: Moved) -> Floats:
        guesses = moved["guess"]
        far = np.abs(guesses - p * guesses.mean(axis=1, keepdims=True))
        won = far <= far.min(axis=1, keepdims=True) + 1e-9
        shares: Floats = prize * won / won.sum(axis=1, keepdims=True)
        return shares

    frame = f"Name a number from 0 to {high:g}. Who is nearest to {p:.3g} times the mean of all wins."
    stages = (Stage("guess", Span(0.0, high, whole=False)),)
    return Game("guessing", ("player",) * players, stages, payoff, {"neutral": frame})
