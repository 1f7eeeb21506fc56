"""Every error that populace raises on purpose.

```
PopulaceError
├── SettingsError          a setting, a key or a file that cannot be used        (exit code 2)
│   └── Untrusted          a run that this user did not make, whose code would run
├── ScenarioError          a society that cannot be loaded or built              (exit code 2)
│   └── NotKept            an agent or a part holds what a resume would not give back
├── ModelError             the model cannot be reached or refuses for good       (exit code 4)
│   ├── WeightsError       the embedded model's weights are missing or wrong
│   └── BudgetSpent        the run reached its ceiling of money or tokens       (exit code 8)
├── TransportError         a shard, the environment service or Ray was lost      (exit code 5)
│   ├── ActorLost          a shard, the world, the quota or what one sent was lost
│   ├── Moving             no failure: at an edge, shards go on in another place
│   └── StaleOrder         an order came late, to what has gone on since; nobody waits for a reply
├── BusError               a frame of messages that cannot be read
├── ConservationError      messages or asks do not add up: a bug in populace     (exit code 70)
├── StorageError           a file of the run cannot be written or read           (exit code 6)
│   ├── JournalDamaged     a journal holds something that was never written
│   ├── CheckpointDamaged  no checkpoint there is what was written
│   ├── SealBroken         a sealed study that is not safe to unpack, or not what was sealed
│   └── DiskFull           no space (or quota) is left for the run's files       (exit code 7)
├── Diverged               a tick did not give the trace hash on record          (exit code 9)
│   └── WorldDiverged      the world's state alone is not the one on record
├── RunFailed              the run passed a limit of its settings                (exit code 3)
├── Interrupted            Ctrl-C or SIGTERM ended the run                       (exit code 130)
└── TurnError              one agent's turn went wrong; ends that turn only
    ├── ForeignAwaitable   something other than an effect was awaited
    ├── NotAwaited         an effect was made and never awaited
    ├── BadMessage         a body or an address that cannot be sent
    ├── BadAction          an action that the world does not know
    ├── BadAsk             an ask that cannot be put to a model
    └── BadField           a public field holds a value of another type
```
"""

from __future__ import annotations

from collections.abc import Sequence


class PopulaceError(Exception):
    """Base of every error that populace raises on purpose."""

    exit_code = 1


class SettingsError(PopulaceError):
    """A setting, a key or a file that cannot be used; the message names key and file."""

    exit_code = 2


class Untrusted(SettingsError):
    """A run's folder that this user did not make, whose code would be executed; the message names its file."""


class ScenarioError(PopulaceError):
    """A society that cannot be loaded or built; the message names the file."""

    exit_code = 2


class NoRule(ScenarioError):
    """Rules are to answer an ask of a purpose for which the society has none; the message names it."""


class NotKept(ScenarioError):
    """An agent or a part of the world holds what a resumed run would not have; the message names where."""


class ModelError(PopulaceError):
    """The model cannot be reached, or refuses for good (unknown key, unknown model, no quota)."""

    exit_code = 4


class WeightsError(ModelError):
    """The embedded model's weights are missing or are not what they should be."""


class BudgetSpent(ModelError):
    """The run reached its ceiling of money or tokens; everything up to there is saved, and it can be resumed."""

    exit_code = 8


class TransportError(PopulaceError):
    """A shard, the environment service or Ray itself was lost."""

    exit_code = 5


class ActorLost(TransportError):
    """A shard, the world, the quota or what one sent was lost; `names` are those that did, `story` what is known."""

    def __init__(self, names: list[str], story: str) -> None:
        super().__init__(names, story)
        self.names = names
        self.story = story

    def __str__(self) -> str:
        return f"{' and '.join(self.names)} was lost: {self.story}"


class Moving(TransportError):
    """No failure: at an edge where all is saved, `names` have a better place elsewhere, and the run goes on there."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.names = names

    def __str__(self) -> str:
        return f"{', '.join(self.names)}: moving to another place"


class StaleOrder(TransportError):
    """An order of a former attempt, or to a tick that has been closed since. Nothing changed; drop it."""


class BusError(PopulaceError):
    """A frame of messages that cannot be read; the message names the frame."""


class ConservationError(PopulaceError):
    """Messages or asks do not add up. It is a bug in populace: please report it."""

    exit_code = 70


class StorageError(PopulaceError):
    """A file of the run cannot be written or read; the message names the file."""

    exit_code = 6


class JournalDamaged(StorageError):
    """A journal holds something that was never written; the message names file, offset and next step.

    `segment` is the file's name, and `why` says in short what is wrong; both are empty where no one segment is.
    """

    segment = ""
    why = ""


class CheckpointDamaged(StorageError):
    """A checkpoint is not what was written; the message names the file and what is wrong."""


class SealBroken(StorageError):
    """A sealed study whose archive is not safe to unpack, or does not hold what was sealed; the message names where."""


class DiskFull(StorageError):
    """No space, or no quota, is left for the run's files; what was saved before is intact."""

    exit_code = 7


class Diverged(PopulaceError):
    """Tick `tick` was recomputed and did not give the trace hash on record: society, prompts or populace differ."""

    exit_code = 9

    def __init__(self, tick: int, expected: str, found: str) -> None:
        super().__init__(tick, expected, found)
        self.tick = tick
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"tick {self.tick} gives the trace hash {self.found}, and {self.expected} is on record"


class WorldDiverged(Diverged):
    """The world's state after tick `tick`, recomputed, is not the one on record: in `parts`, by name."""

    def __init__(self, tick: int, expected: str, found: str, parts: Sequence[str]) -> None:
        super().__init__(tick, expected, found)
        self.args = (tick, expected, found, parts)
        self.parts = tuple(parts)

    def __str__(self) -> str:
        what = ", ".join(map(repr, self.parts))
        where = f" in part{'s' if len(self.parts) > 1 else ''} {what}" if what else ""
        return (
            f"the world's state differs from the one on record from tick {self.tick} on{where}: its hash is "
            f"{self.found}, and {self.expected} is on record"
        )


class RunFailed(PopulaceError):
    """The run passed a limit that its settings name; everything up to there is saved."""

    exit_code = 3


class Interrupted(PopulaceError):
    """Ctrl-C or SIGTERM ended the run; everything up to there is saved."""

    exit_code = 130


class AskedToEnd(Interrupted):
    """`control.json` in a run's folder asked this one run to end; of an experiment the other runs go on."""


class TurnError(PopulaceError):
    """One agent's turn went wrong. It ends that turn only; the run goes on."""


class ForeignAwaitable(TurnError):
    """A turn awaited something that is not an effect of its `ctx`."""


class NotAwaited(TurnError):
    """A turn made an effect (`ctx.ask`, `ctx.look`) and never awaited it."""


class BadMessage(TurnError):
    """A message body or an address that cannot be sent."""


class BadAction(TurnError):
    """An action that the world does not know, or whose arguments cannot be sent."""


class BadAsk(TurnError):
    """An ask that cannot be put to a model."""


class OutsideInfluence(TurnError):
    """A turn sent to, or read, an agent beyond what its society declares as influence."""


class BadField(TurnError):
    """A public field holds a value of another type than it declares."""
