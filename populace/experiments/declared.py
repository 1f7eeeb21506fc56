"""What an experiment's file declares: a society, its arms, its outcomes, and how often all of it is played. Data.

```python
from populace.experiments import Arm, Experiment, Outcome

experiment = Experiment(
    "polarization",
    arms={"control": Arm(), "silenced": Arm(levers=[{"at": 2, "block": {"sender": {"share": 0.2}}}])},
    outcomes=[Outcome("variance", direction="down"), "moderated"],
    replicates=20,
    ticks=8,
)
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from populace.agents.probes.instrument import Instrument
from populace.agents.society import Society
from populace.core.errors import ScenarioError
from populace.experiments.audits.declared import GENERIC, Audit
from populace.experiments.lines import Place, caller, line_of
from populace.experiments.soundness import shown_path, what_is_wrong
from populace.experiments.stopping import Stopping
from populace.experiments.subgroups import Each, Subgroup

if TYPE_CHECKING:
    from populace.experiments.results import Results

MOST_NAME: Final = 100
"""How many characters an experiment's name and an arm's may have."""
Direction: TypeAlias = Literal["up", "down"]
CHECKS = ("idle_lever", "alike", "still_outcome")
"""What a dry pass may find and `accept` may let pass: levers that act on nobody, arms whose runs are those of another,
outcomes that stay where they are."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way in which the society is treated; without anything it is left as it is.

    `levers` are interventions (`populace.interventions.levers`): the treatment begins at the earliest `at` of them, and
    until then all arms are one. What differs from the start makes the arm run whole: `parameters` of the society, other
    `settings` ({"model.temperature": 0.2}), another kind of `model`, or another `society` with the same outcomes, which
    is how prompts and populations differ that are no parameters. `factors` says which levels the arm has, where it is
    one of a factorial or a dose.
    """

    levers: Sequence[str | Mapping[str, Any]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    society: Society | str | None = None
    about: str = ""
    factors: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What is compared between arms: an outcome of the society by its name, or the score of an instrument.

    `direction` is what is predicted of an arm against the control, `up` or `down`, for all arms or by arm; it is on
    record before anything is run. It is read at tick `at` (that of the state before this tick; the last one without
    it), or as the `mean` over the ticks from the treatment on. With an `instrument` it is the mean over agents of their
    score on `scale`, from public fields that are called as its items are. `bounds` are those that it cannot leave: with
    them an audit's sequence is of the mean difference, without them of its sign. `each` says what it is of each agent,
    a public field or `Each`: the report then tells of subgroups, and of quantiles over agents.
    """

    name: str
    _: KW_ONLY
    direction: Direction | Mapping[str, Direction] | None = None
    at: int | None = None
    read: Literal["end", "mean"] = "end"
    instrument: Instrument | None = None
    scale: str = ""
    about: str = ""
    bounds: tuple[float, float] | None = None
    each: Each | str | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment on a society: arms, replicates, outcomes. It is data, and stands beside the society in a file.

    `society` is a Society, or the name of one: a file (`path.py`, `path.py:variable`), a module, a scenario that ships.
    Each of the `replicates` is a draw of the society with a seed of its own (`seed`, `seed` + 1, ...), played in every
    arm with the same draws. `control` is the arm that the others are compared with (the first where it is not said),
    `primary` the outcome that the question is decided by (the first). `parameters` and `settings` hold in all arms.
    `published` holds figures of others by outcome and arm, to stand beside these, with a 'source'. `accept` names
    findings of the dry pass that are meant: see `CHECKS`. `audits` are ways in which its claims have to hold, beside
    those that need no declaration. `subgroups` are columns of the population, or `Subgroup`s of them, by which is told
    who gains and who loses: of outcomes that are declared for `each` agent, and of scores of instruments. With
    `stopping` it goes on in batches until it is clear, and `replicates` are the most that it plays.
    """

    society: Society | str
    _: KW_ONLY
    arms: Mapping[str, Arm]
    outcomes: Sequence[Outcome | str]
    name: str = ""
    question: str = ""
    control: str = ""
    primary: str = ""
    replicates: int = 20
    ticks: int | None = None
    agents: int | Mapping[str, int] | None = None
    seed: int = 0
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accept: Sequence[str] = ()
    audits: Sequence[Audit] = ()
    subgroups: Sequence[Subgroup | str] = ()
    stopping: Stopping | None = None
    place: Place = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", caller())
        self._check()

    def line(self, *path: str | int) -> str:
        """Where in its file something of it stands, `file:line`: `line("arms", "silenced", "levers", 0)`."""
        return line_of(self.place, path)

    def _check(self) -> None:
        """Raise ScenarioError, naming the line, for what no experiment can be."""
        if not isinstance(self.society, Society | str):
            raise self.wrong(said="a society is a Society, or the name of where one is")
        if not isinstance(self.name, str) or len(self.name) > MOST_NAME:
            raise self.wrong("name", said=f"an experiment's name is a text of at most {MOST_NAME} characters")
        if not isinstance(self.arms, Mapping) or len(self.arms) < 2:
            raise self.wrong("arms", said="an experiment compares two arms or more: arms={'control': Arm(), ...}")
        for name, arm in self.arms.items():
            if not isinstance(name, str) or len(name) > MOST_NAME:
                raise self.wrong(
                    "arms", said=f"an arm's name is a text of at most {MOST_NAME} characters, not {name!r}"
                )
            if not isinstance(arm, Arm):
                raise self.wrong("arms", name, said=f"arm {name!r} has to be an Arm(...), not a {type(arm).__name__}")
        if not self.outcomes or isinstance(self.outcomes, str):
            raise self.wrong("outcomes", said="say what is compared: outcomes=['variance', ...]")
        names = [one.name for one in self.measured]
        for at, measured in enumerate(names):
            if names.index(measured) < at:
                raise self.wrong("outcomes", at, said=f"outcome {measured!r} is named twice")
        if self.control and self.control not in self.arms:
            raise self.wrong("control", said=f"{self.control!r} is no arm; there are {', '.join(self.arms)}")
        if self.primary and self.primary not in names:
            raise self.wrong("primary", said=f"{self.primary!r} is no outcome of it; there are {', '.join(names)}")
        for at, outcome in enumerate(self.measured):
            self._check_read(at, outcome)
            given = outcome.direction if isinstance(outcome.direction, Mapping) else {}
            for of in given:
                if of not in self.arms or of == self.compared_with:
                    there = ", ".join(other for other in self.arms if other != self.compared_with)
                    raise self.wrong(
                        "outcomes", at, "direction", said=f"a direction is of an arm against the control: {there}"
                    )
        if type(self.replicates) is not int or self.replicates < 1:
            raise self.wrong("replicates", said=f"replicates are 1 or more, a whole number, not {self.replicates!r}")
        self._check_audits()
        self._check_subgroups()
        self._check_stopping()
        for one in self.accept:
            if one not in CHECKS:
                raise self.wrong("accept", said=f"{one!r} is nothing that is checked: {', '.join(CHECKS)}")

    def _check_audits(self) -> None:
        names = [*GENERIC, *(getattr(one, "name", "") for one in self.audits)]
        for at, one in enumerate(self.audits):
            if not isinstance(one, Audit) or not one.name:
                raise self.wrong("audits", at, said="an audit is an Audit('its name', reword={...})")
            if names.index(one.name) < len(GENERIC) + at:
                raise self.wrong("audits", at, said=f"audit {one.name!r}: another one has this name")
            if not one.changes:
                raise self.wrong("audits", at, said=f"audit {one.name!r} changes nothing: give it reword={{...}}")
            if one.levers and (one.reword or one.personas or one.parameters or one.settings or one.shuffle):
                raise self.wrong("audits", at, said=f"audit {one.name!r}: placebo levers stand alone")

    def _check_read(self, at: int, one: Outcome) -> None:
        """Raise ScenarioError for an outcome that is read in no way that there is."""
        given = one.direction.values() if isinstance(one.direction, Mapping) else (one.direction,)
        for of in given:
            if of not in (None, "up", "down"):
                raise self.wrong("outcomes", at, "direction", said=f"a direction is 'up' or 'down', not {of!r}")
        if one.read not in ("end", "mean"):
            raise self.wrong(
                "outcomes", at, "read", said=f"an outcome is read at the 'end' or as the 'mean', not {one.read!r}"
            )
        if one.each is not None and not isinstance(one.each, str):
            self._check_struct(one.each, Each, "outcomes", at, "each")
        if one.bounds is None:
            return
        ends = one.bounds if isinstance(one.bounds, Sequence) else ()
        if len(ends) != 2 or not all(isinstance(end, int | float) and isfinite(end) for end in ends):
            said = (
                f"bounds {one.bounds!r}: two numbers, such as (0, 1), that the outcome cannot leave; without any, none"
            )
            raise self.wrong("outcomes", at, "bounds", said=said)
        if not ends[0] < ends[1]:
            raise self.wrong("outcomes", at, "bounds", said=f"bounds {one.bounds}: the lower comes first")

    def _check_stopping(self) -> None:
        if self.stopping is not None:
            self._check_struct(self.stopping, Stopping, "stopping")

    def _check_struct(self, value: Any, kind: type[Each | Subgroup | Stopping], *path: str | int) -> None:
        """Raise ScenarioError for what is no `kind`, or holds what cannot be written down."""
        if not isinstance(value, kind):
            raise self.wrong(*path, said=f"has to be a {kind.__name__}(...), not a {type(value).__name__}")
        found = what_is_wrong(value)
        if found is not None:
            raise self.wrong(*path, said=f"{kind.__name__}, {shown_path(found[0]) or 'all of it'}: {found[1]}")
        try:
            value.check()
        except ScenarioError as error:
            raise self.wrong(*path, said=str(error)) from None

    def _check_subgroups(self) -> None:
        given = self.subgroups
        if (
            not isinstance(given, Sequence)
            or isinstance(given, str)
            or not all(isinstance(one, Subgroup | str) for one in given)
        ):
            raise self.wrong("subgroups", said="subgroups=['income', Subgroup('party', names=('left', 'right')), ...]")
        columns = [one if isinstance(one, str) else one.column for one in self.subgroups]
        for at, column in enumerate(columns):
            if columns.index(column) < at:
                raise self.wrong("subgroups", at, said=f"subgroup {column!r} is named twice")
            if isinstance(given[at], Subgroup):
                self._check_struct(given[at], Subgroup, "subgroups", at)
        if columns and not any(one.each or one.instrument for one in self.measured):
            raise self.wrong(
                "subgroups",
                said="no outcome says what it is of each agent: Outcome('mood', each='mood'), by a public field",
            )

    def wrong(self, *path: str | int, said: str) -> ScenarioError:
        """The error to raise for something of it, with its line."""
        return ScenarioError(f"{self.line(*path)}: {said}")

    @property
    def measured(self) -> tuple[Outcome, ...]:
        """The outcomes, each as an Outcome."""
        return tuple(Outcome(one) if isinstance(one, str) else one for one in self.outcomes)

    @property
    def compared_with(self) -> str:
        """The name of the arm that the others are compared with."""
        return self.control or next(iter(self.arms))

    def run(
        self,
        out: str | Path,
        *,
        replicates: int | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        jobs: int | None = None,
        until: str | None = None,
        quiet: bool = False,
    ) -> Results:
        """Play all of it in the folder `out`, or go on with what stands there, and give the results.

        `jobs` runs go side by side, each in a process of its own. `until` says when it has seen enough, as `--until`
        does ("clear", "width=0.1"). Raises ScenarioError and SettingsError, naming the
        line, for what could show nothing, before any model is asked; and what ends a run early.
        """
        from populace.experiments.front import run_experiment

        return run_experiment(
            self, out, replicates=replicates, model=model, settings=settings, jobs=jobs, until=until, quiet=quiet
        )
