"""A run as Python code holds it: its manifest, its tables as data frames, its outcomes drawn. A shell: files.

pandas, polars and matplotlib are loaded when they are first used.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from populace.core.errors import SettingsError
from populace.core.text import shown_line
from populace.monitoring.progress_file import goes_on
from populace.store.folder import RUN_FILE, read_run_file
from populace.store.lock import is_held
from populace.store.manifest import MANIFEST, read_manifest
from populace.store.probes import probes_of, surveys_in
from populace.store.remote.mirror import RECORD, local_folder
from populace.store.tables.tables import agents_having, panel, public_fields, read_table, with_types

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from populace.runs.surveyed import Surveyed


def run_status(folder: Path) -> str:
    """What a run is at; see `Run.status`. Raises SettingsError for a manifest that cannot be read.

    One that went on after it had ended early has that end's manifest: it was killed since, unless it tells of an end.
    """
    if is_held(folder):
        return "at work"
    if not (folder / MANIFEST).exists():
        return "killed"
    said = str(read_manifest(folder)["status"])
    return "killed" if said != "complete" and goes_on(folder) else said


class Run:
    """A run's folder, whoever began it: finished, at work, or ended early.

    `name` is what a person calls it: its folder, or its address (s3://...). Of a run that is at work, tables and
    outcomes are what is on the disk: up to its last checkpoint. Raises SettingsError where there is no run.
    """

    def __init__(self, name: str | Path) -> None:
        self.name = str(name)
        self.folder = local_folder(self.name, (*RECORD, "*.parquet"))
        read_run_file(self.folder)

    @property
    def status(self) -> str:
        """`complete`, `interrupted`, `budget` or `failed` as it ended; `at work`; or `killed` before it could say."""
        return run_status(self.folder)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run says of itself: settings, counts, costs, hashes. Raises SettingsError before its first end."""
        if not (self.folder / MANIFEST).exists():
            raise SettingsError(
                f"{self.folder}: has no manifest yet: the run is {self.status}. Its tables can be read, up to its last "
                "checkpoint; a run that was killed goes on with populace.resume."
            )
        return read_manifest(self.folder)

    @property
    def valid(self) -> bool:
        """Whether its figures may be used; `manifest["why_invalid"]` says why not."""
        return bool(self.manifest.get("valid", True))

    @property
    def outcomes(self) -> pd.DataFrame:
        """The outcomes: a row a tick, a column an outcome, float64."""
        import pandas as pd

        table = read_table(self.folder, "outcomes").to_pandas()
        names = table["name"].unique()
        frame = table.pivot_table("value", "tick", "name", dropna=False) if len(table) else pd.DataFrame()
        return frame.reindex(columns=names).rename_axis(index="tick", columns=None)

    def table(self, name: str, kind: Literal["pandas", "arrow", "polars"] = "pandas") -> Any:
        """A table, such as `asks` or `messages`: see `populace.core.tables`.

        In a society with types of agents each agent's type stands beside its id, in the column `type` (of messages
        `sender_type` and `receiver_type`; null for the world). A `pandas.DataFrame`, `pyarrow.Table` or
        `polars.DataFrame`. Raises SettingsError, naming those there are.
        """
        table = with_types(self.folder, read_table(self.folder, name))
        match kind:
            case "pandas":
                return table.to_pandas()
            case "arrow":
                return table
            case "polars":
                import polars as pl

                return pl.from_arrow(table)
        raise SettingsError(f"kind={kind!r}: a table is had as 'pandas', 'arrow' or 'polars'.")

    def panel(self, field: str, type: str | None = None) -> pd.DataFrame:  # noqa: A002
        """A public field of all agents over time: a row a tick, a column an agent. See `populace.panel`.

        With types of agents the columns are those of the agents that have the field, labelled by type and agent; with
        `type`, those of that type, labelled by agent. Raises SettingsError where there is no such field or type.
        """
        import pandas as pd

        first = read_table(self.folder, "agents").column("tick").to_numpy()
        dense = panel(self.folder, field)
        start = int(first.min()) if len(first) else 0
        ticks = pd.RangeIndex(start, start + dense.shape[0], name="tick")
        frame = pd.DataFrame(dense, index=ticks, columns=pd.RangeIndex(dense.shape[1], name="agent"))
        of = agents_having(self.folder, field)
        if type is None and not of:
            return frame
        there = list(dict.fromkeys(of.values()))
        if type is not None and type not in there:
            known = f"Types that have it: {', '.join(there)}." if there else "The society has no types: leave it out."
            raise SettingsError(f"{self.name}: no agents of type {type!r} have the field {field!r}. {known}")
        frame = frame[[agent for agent, its in of.items() if type in (None, its)]]
        if type is None:
            frame.columns = pd.MultiIndex.from_tuples([(its, one) for one, its in of.items()], names=["type", "agent"])
        return frame

    @property
    def surveys(self) -> list[str]:
        """The surveys that were asked of the run, while it was played or afterwards, by name."""
        return surveys_in(probes_of(self.folder))

    def survey(self, name: str) -> Surveyed:
        """A survey that was asked of the run: its table, scores, retest. Raises SettingsError for one that was not."""
        from populace.runs.surveyed import Surveyed

        return Surveyed(self.folder, name)

    def plot(self, *outcomes: str, ax: Axes | None = None, label: str | None = None) -> Axes:
        """Draw outcomes over ticks (all of them, unless some are named); gives the axes, onto which more can go.

        `label` stands before an outcome's name in the legend: arms drawn into one picture are told apart by it. Needs
        matplotlib (`pip install 'populace[plot]'`).
        """
        frame = self.outcomes
        for name in outcomes:
            if name not in frame:
                there = ", ".join(frame) or "none"
                fields: list[str] = []
                with suppress(SettingsError):  # a run that keeps no agents has none
                    fields = public_fields(read_table(self.folder, "agents").column_names)
                how = f" It is a field of agents: run.panel({name!r}).plot(legend=False)" if name in fields else ""
                raise SettingsError(f"{self.name}: has no outcome {name!r}. It has: {there}.{how}")
        try:
            import matplotlib.pyplot as plt
        except ImportError:
            raise SettingsError("plots need matplotlib: pip install 'populace[plot]'") from None
        if ax is None:
            _, ax = plt.subplots()
        chosen = list(outcomes or frame)
        for name in chosen:
            text = name if label is None else label if len(chosen) == 1 else f"{label}: {name}"
            ax.plot(frame.index, frame[name], label=text)
        ax.set_xlabel("tick")
        if len(chosen) == 1:
            ax.set_ylabel(chosen[0])
        ax.legend()
        return ax

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}({self.name!r}): {self.status}"]
        if (self.folder / MANIFEST).exists():
            manifest = self.manifest
            lines[0] += (
                f", {manifest['scenario']}, {manifest['agents']:,} agents, {manifest['ticks']:,} ticks, "
                f"{manifest['asks']['made']:,} asks, ${manifest['cost_usd']:.4g}"
            )
            if manifest.get("why_invalid"):
                lines.append(f"  not valid: {manifest['why_invalid']}")
            if manifest["error"]:
                lines.append(f"  {manifest['error']}")
        return "\n".join(map(shown_line, lines))


def load(name: str | Path) -> Run:
    """The run in a folder or at an address, finished or not. Raises SettingsError where there is none."""
    return Run(name)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / RUN_FILE).exists()
