"""What an experiment came to, as data frames and arrays. Shell: files. pandas is loaded when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from populace.core.errors import SettingsError
from populace.core.text import shown_line
from populace.experiments.checks import DryPass
from populace.experiments.design import Design, Task, folder_of, is_experiment, read_design
from populace.experiments.fidelity import Touched, all_touched
from populace.experiments.playing import drawn
from populace.experiments.values import Floats, series_of, value_of
from populace.runs.result import Run
from populace.runs.result import load as load_run
from populace.store.folder import RUN_FILE
from populace.store.lock import is_held
from populace.store.manifest import is_complete

if TYPE_CHECKING:
    import pandas as pd

    from populace.experiments.effects import Effects
    from populace.experiments.subgroups import Subgroup

DRY: Final = "dry.json"


class Results:
    """An experiment's folder: its design, and of its runs those that have ended, or as far as they are.

    Raises SettingsError where there is no experiment.
    """

    def __init__(self, name: str | Path) -> None:
        self.name = str(name)
        self.folder = Path(name)
        self.design: Design = read_design(self.folder)

    @property
    def arms(self) -> list[str]:
        """The names of the arms, the control among them, in their order."""
        return [arm.name for arm in self.design.arms]

    @property
    def tasks(self) -> list[Task]:
        """The runs that it consists of, whether or not they stand here yet."""
        return list(self.design.tasks())

    @property
    def status(self) -> str:
        """`complete`, `at work`, or `unfinished`: then `populace resume` goes on with it."""
        if all(is_complete(self.folder / task.run) for task in self.tasks):
            return "complete"
        return "at work" if is_held(self.folder) else "unfinished"

    @property
    def complete(self) -> list[int]:
        """The replicates whose runs are complete in every arm."""
        n = self.design.replicates
        return [r for r in range(n) if all(is_complete(self.folder / folder_of(arm, r)) for arm in self.design.arms)]

    def run(self, arm: str, replicate: int) -> Run:
        """One of its runs. Raises SettingsError where there is none (yet)."""
        return Run(self.folder / folder_of(self.design.arm(arm), replicate))

    @property
    def runs(self) -> pd.DataFrame:
        """A row a run: what it is, how it ended, what it asked, took over from another and cost."""
        import pandas as pd

        rows = []
        for task in self.tasks:
            row: dict[str, Any] = {
                "run": task.run, "arm": task.arm, "replicate": task.replicate, "seed": task.seed,
                "parent": task.parent or None, "status": "to come",
            }  # fmt: skip
            if (self.folder / task.run / RUN_FILE).exists():
                run = Run(self.folder / task.run)
                row["status"] = run.status
                if row["status"] not in ("at work", "killed"):
                    of = run.manifest
                    asks = of["asks"]
                    row |= {
                        "valid": bool(of.get("valid", True)), "why_invalid": of.get("why_invalid"),
                        "model": of["model"], "answers": of["answers"], "agents": of["agents"], "ticks": of["ticks"],
                        "turns": of["turns"], "turns_failed": of["turns_failed"], "asks": asks["made"],
                        "answered": asks["answered"], "replayed": asks["replayed"],
                        "abstained": asks["abstained"], "calls": of["calls_billed"],
                        "cost_usd": of["cost_usd"], "wall_s": of["wall_s"], "began_at_tick": of["began_at_tick"],
                        "trace_hash": of["trace_hash"], "world_hash": of["world_hash"],
                    }  # fmt: skip
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def outcomes(self) -> pd.DataFrame:
        """One long table: run, arm, replicate, tick, outcome, value; every outcome of the society, and instruments'."""
        return self._long(self._outcomes_of)

    def _outcomes_of(self, task: Task) -> pd.DataFrame:
        import pandas as pd

        folder = self.folder / task.run
        frame = Run(folder).outcomes
        for one in self.design.outcomes:
            if one.scale is not None:
                series = series_of(folder, one)
                frame[one.name] = pd.Series(series, index=frame.index[: len(series)])
        long = frame.reset_index().melt("tick", var_name="outcome", value_name="value")
        return long.astype({"outcome": object})

    def table(self, name: str) -> pd.DataFrame:
        """A table of all complete runs (`asks`, `messages`, `levers`, `agents`, ...), with run, arm and replicate."""
        return self._long(lambda task: Run(self.folder / task.run).table(name))

    def _long(self, of: Callable[[Task], pd.DataFrame]) -> pd.DataFrame:
        import pandas as pd

        frames = []
        for task in self.tasks:
            if not is_complete(self.folder / task.run):
                continue
            try:
                frame = of(task)
            except SettingsError:  # a run without rows of a seldom table
                continue
            frame.insert(0, "run", task.run)
            frame.insert(1, "arm", task.arm)
            frame.insert(2, "replicate", task.replicate)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["run", "arm", "replicate"])

    def trajectories(self, outcome: str, arm: str) -> Floats:
        """An outcome by tick: float64 of (replicates, ticks + 1), of the replicates that are complete in all arms."""
        return np.array([self._series(outcome, arm, replicate) for replicate in self.complete])

    def _series(self, outcome: str, arm: str, replicate: int) -> Floats:
        return series_of(self.folder / folder_of(self.design.arm(arm), replicate), self.design.outcome(outcome))

    def values(self, outcome: str, arm: str) -> Floats:
        """What is compared: float64 of (replicates,), of the replicates that are complete in all arms, in their order.

        Two arms' values stand in pairs: the same replicate, the same draws.
        """
        of = self.design.outcome(outcome)
        begins = min((one.treated_at or 0 for one in self.design.treatments), default=0)
        return np.array([value_of(self._series(outcome, arm, r), of, begins) for r in self.complete])

    def paired(self, outcome: str, arm: str) -> Floats:
        """The differences of an arm and the control, replicate by replicate: float64 of (replicates,)."""
        return self.values(outcome, arm) - self.values(outcome, self.design.control)

    def effects(self, level: float = 0.95, *, subgroups: Sequence[Subgroup | str] | None = None) -> Effects:
        """What each arm did to each outcome against the control: intervals, Holm, bands, failures; see `Effects`.

        Of the replicates that are complete in every arm. `gains` in it says who gains and who loses, by the subgroups
        that are registered or by these, which are columns of the population. Needs the extra `experiments`. Raises
        SettingsError where fewer than two replicates are complete.
        """
        from populace.experiments.effects import effects_of

        return effects_of(self, level, subgroups)

    def report(self, out: str | Path | None = None, level: float = 0.95) -> Path:
        """Write the report into the folder, or into `out`: report.html, report.md and figures/; gives the page's path.

        The same as `populace experiment report`. Raises StorageError, and SettingsError where a library is missing.
        """
        from populace.experiments.report.made import PAGE, write_report

        folder = self.folder if out is None else Path(out)
        write_report(self, folder, level)
        return folder / PAGE

    def panel(self, field: str, tick: int = -1) -> pd.DataFrame:
        """A public field of all agents at a tick (the last one): run, arm, replicate, agent, value."""

        def of(task: Task) -> pd.DataFrame:
            frame = Run(self.folder / task.run).panel(field)
            row = frame.iloc[tick] if tick < 0 else frame.loc[tick]
            return row.rename("value").rename_axis("agent").reset_index()

        return self._long(of)

    @property
    def fidelity(self) -> pd.DataFrame:
        """Whom the levers touched and when: a row a run and lever; see `Touched`."""
        import pandas as pd

        return pd.DataFrame(
            map(msgspec.structs.asdict, all_touched(self.folder, self.design)), columns=Touched.__struct_fields__
        )

    def assignment(self, arm: str) -> pd.DataFrame:
        """Whom the lots within runs treat: replicate, key, agent, cluster, treated; no rows where nothing is drawn."""
        import pandas as pd

        of = self.design.arm(arm)
        frames = [
            pd.DataFrame(
                {"replicate": r, "key": key, "agent": np.arange(len(one.cluster)), "cluster": one.cluster,
                 "treated": one.treated}
            )
            for r in range(self.design.replicates)
            for (key, _), one in drawn(self.design, of, r).items()
        ]  # fmt: skip
        names = ["replicate", "key", "agent", "cluster", "treated"]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)

    @property
    def dry_pass(self) -> DryPass | None:
        """What the dry pass before it came to; None where there was none."""
        path = self.folder / DRY
        return msgspec.json.decode(path.read_bytes(), type=DryPass) if path.exists() else None

    def __repr__(self) -> str:
        design = self.design
        ended = sum(is_complete(self.folder / task.run) for task in self.tasks)
        return shown_line(
            f"Results({self.name!r}): {design.name}, {len(design.arms)} arms x {design.replicates} replicates, "
            f"{self.status}, {ended:,} of {len(self.tasks):,} runs"
        )


def load(name: str | Path) -> Run | Results:
    """The run, or the experiment, in a folder; a run at an address too. Raises SettingsError where there is neither."""
    return Results(name) if is_experiment(name) else load_run(name)
