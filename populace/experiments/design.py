"""An experiment as plain data: what `experiment.json` holds, and which runs it comes to.

The design is written before anything is run: it is what was pre-registered. Nothing of it needs the experiment's file
again, since it holds the text of its societies. Shell: one file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from populace.agents.probes.instrument import Instrument, Item, Scale
from populace.core.errors import SettingsError
from populace.data.societies import Origin
from populace.experiments.audits.declared import DesignedAudit
from populace.experiments.stopping import Stopping
from populace.experiments.subgroups import Each, Subgroup
from populace.files import write_whole
from populace.settings import Settings

FILE: Final = "experiment.json"
VERSION: Final = 1
_LATER: Final = {"subgroups", "each", "stopping"}


class DesignedArm(msgspec.Struct, frozen=True, kw_only=True):
    """An arm. `folder` is what its runs' folders begin with; `society` counts in the design's `societies`.

    `levers` have names and ticks. A run of it is forked before tick `at_tick` from that of the arm `base` in the same
    replicate; without a base it is begun by itself. `treated_at` is the first tick in which it may differ from the
    control; None for the control.
    """

    name: str
    folder: str
    about: str = ""
    levers: list[dict[str, Any]] = []
    parameters: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    society: int = 0
    factors: dict[str, Any] = {}
    base: str = ""
    at_tick: int = 0
    treated_at: int | None = None


class DesignedScale(msgspec.Struct, frozen=True, kw_only=True):
    """A scale of an instrument, as much of it as makes scores: `items` by name with their least and largest answer."""

    instrument: str
    source: str
    items: dict[str, tuple[float, float]]
    key: dict[str, Literal[1, -1]]
    how: Literal["sum", "mean"]
    most_missing: int = 0
    recode: list[tuple[float, float]] = []

    def made(self, name: str) -> Instrument:
        """An instrument of these items and this scale, under a name."""
        items = [Item(of, None, low, high) for of, (low, high) in self.items.items()]
        scale = Scale(name, self.key, self.how, self.most_missing, dict(self.recode))
        return Instrument(self.instrument, "", self.source, "", items, [scale])


class DesignedOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome: `direction` has what is predicted by arm, 'up' or 'down'; `at` and `read` say what of it is compared.

    With a `scale` it is the mean over agents of their score on it. `bounds` are those that it cannot leave.
    """

    name: str
    about: str = ""
    direction: dict[str, str] = {}
    at: int | None = None
    read: str = "end"
    scale: DesignedScale | None = None
    bounds: tuple[float, float] | None = None
    each: Each | None = None


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """All that an experiment is. `settings` are those of every run, as `Settings` dumps them.

    `randomised` lists the lots by which agents or communities are assigned within a run (`randomised`). `made` is when
    it was written, in UTC. `audits` are those that its file declares; they may be added to when it has been run.
    """

    name: str
    society: str
    question: str
    control: str
    primary: str
    arms: list[DesignedArm]
    outcomes: list[DesignedOutcome]
    replicates: int
    seed: int
    ticks: int
    agents: int
    settings: dict[str, Any]
    societies: list[Origin]
    randomised: list[dict[str, Any]] = []
    published: dict[str, Any] = {}
    accept: list[str] = []
    audits: list[DesignedAudit] = []
    subgroups: list[Subgroup] = []
    stopping: Stopping | None = None
    populace: str = ""
    made: str = ""
    version: int = VERSION

    @property
    def digest(self) -> str:
        """BLAKE2b-128 of what was registered, in hexadecimal digits: not audits, how many replicates, when, where."""
        rule = None if self.stopping is None else self.stopping.rule
        plain = msgspec.structs.replace(self, replicates=0, audits=[], made="", populace="", stopping=rule)
        plain = msgspec.structs.replace(plain, settings={**plain.settings, "budget": None, "endpoint": None})
        data = msgspec.json.decode(msgspec.json.encode(plain, order="deterministic"))
        for of in (data, *data["outcomes"]):  # what designs of before had no word for has no part in theirs
            for key in _LATER & of.keys():
                if not of[key]:
                    del of[key]
        return blake2b(msgspec.json.encode(data), digest_size=16).hexdigest()

    def arm(self, name: str) -> DesignedArm:
        """An arm by its name. Raises SettingsError, naming those there are."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise SettingsError(f"{self.name}: has no arm {name!r}; there are {', '.join(one.name for one in self.arms)}")

    def outcome(self, name: str) -> DesignedOutcome:
        """An outcome by its name. Raises SettingsError, naming those there are."""
        for one in self.outcomes:
            if one.name == name:
                return one
        there = ", ".join(one.name for one in self.outcomes)
        raise SettingsError(f"{self.name}: has no outcome {name!r}; there are {there}")

    @property
    def treatments(self) -> list[DesignedArm]:
        """The arms but the control."""
        return [arm for arm in self.arms if arm.name != self.control]

    def read_settings(self) -> Settings:
        """The settings of every run. Raises SettingsError."""
        try:
            return Settings.model_validate_json(msgspec.json.encode(self.settings))
        except ValueError as error:
            raise SettingsError(f"{FILE}: its settings are not ones of this populace: {error}") from None

    def tasks(self, replicates: int | None = None) -> Iterator[Task]:
        """The runs of it, each after the one that it is forked from, replicate by replicate."""
        ordered = sorted(self.arms, key=self._depth)
        for replicate in range(self.replicates if replicates is None else replicates):
            for arm in ordered:
                parent = folder_of(self.arm(arm.base), replicate) if arm.base else ""
                yield Task(folder_of(arm, replicate), arm.name, replicate, self.seed + replicate, parent)

    def _depth(self, arm: DesignedArm) -> int:
        return 1 + self._depth(self.arm(arm.base)) if arm.base else 0

    def kept_at(self, arm: DesignedArm) -> list[int]:
        """The ticks before which a run of an arm keeps its state: each the one before others are forked from it."""
        return sorted({one.at_tick - 1 for one in self.arms if one.base == arm.name and one.at_tick > 1})


class Task(msgspec.Struct, frozen=True):
    """One run of an experiment: its folder's name, and that of the run that it is forked from ('' for none)."""

    run: str
    arm: str
    replicate: int
    seed: int
    parent: str = ""


def folder_of(arm: DesignedArm, replicate: int) -> str:
    """What the folder of an arm's run is called."""
    return f"{arm.folder}-{replicate:03}"


def plain_name(name: str) -> str:
    """A name as a folder's may be."""
    return re.sub(r"[^\w.=+]+", "-", name).strip("-._")[:60] or "arm"


def is_experiment(folder: str | Path) -> bool:
    """Whether a folder holds an experiment."""
    return (Path(folder) / FILE).is_file()


def write_design(folder: Path, design: Design) -> None:
    """Write `experiment.json`. Raises StorageError."""
    write_whole(folder / FILE, msgspec.json.format(msgspec.json.encode(design), indent=2) + b"\n")


def read_design(folder: str | Path) -> Design:
    """Read `experiment.json`. Raises SettingsError, naming the file, where there is none or it is not one."""
    path = Path(folder) / FILE
    try:
        design = msgspec.json.decode(path.read_bytes(), type=Design)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}). Give the folder of an experiment.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not what populace wrote: {error}. Put a good copy back.") from None
    if design.version > VERSION:
        raise SettingsError(f"{path}: is of version {design.version}, and this populace reads up to {VERSION}.")
    return design


def differences(one: Design, other: Design) -> list[str]:
    """What two designs do not have in common, by name: replicates, audits, budget and endpoint may differ."""
    free = {"replicates", "audits", "made", "populace", "settings"}
    one, other = (
        of if of.stopping is None else msgspec.structs.replace(of, stopping=of.stopping.rule) for of in (one, other)
    )
    found = [
        name for name in Design.__struct_fields__ if name not in free and getattr(one, name) != getattr(other, name)
    ]
    was, now = (_bound(design.settings) for design in (one, other))
    return found + [f"settings.{key}" for key in sorted(was.keys() | now.keys()) if was.get(key) != now.get(key)]


def _bound(settings: Mapping[str, Any]) -> dict[str, Any]:
    free = ("budget", "endpoint", "metrics_port", "metrics_host", "metrics_targets", "log", "traces")
    return {key: value for key, value in settings.items() if key not in free}
