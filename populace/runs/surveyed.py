"""A survey of a run, as its table holds it: its answers, scores, retest and response styles. A shell: files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from populace.agents.probes.instrument import Instrument
from populace.agents.probes.reliability import Retests, alphas, retest_scales
from populace.agents.probes.styles import Styles, response_styles
from populace.cluster.probing import Tally
from populace.core.errors import SettingsError
from populace.monitoring.pace import counted
from populace.monitoring.progress import money
from populace.monitoring.summary import PLACEBO_CAVEAT, SURVEY_PLACEBO_CAVEAT
from populace.runs.shown import Shown
from populace.store.manifest import is_placebo
from populace.store.probes import probes_of, read_survey, table_path

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
_ROWS: Final = 12


class Surveyed(Shown):
    """A survey of the run in a folder. Waves are counted from 0; -1 is the last.

    `tally` is what the asking that gave it came to; nothing where it was only read. Raises SettingsError for a survey
    that was not asked. Where the `placebo` was asked, or answered the run, the text says so.
    """

    def __init__(self, run: Path, name: str, tally: Tally | None = None, *, placebo: bool = False) -> None:
        self.name = name
        self._of_placebo = is_placebo(run)
        self.placebo = placebo or self._of_placebo
        self.tally = Tally() if tally is None else tally
        self.path = table_path(probes_of(run), name)
        asked = read_survey(probes_of(run), name)
        self.instrument: Instrument = asked.instrument
        self._arrow = asked.table

    def table(self, kind: Literal["pandas", "arrow", "polars"] = "pandas") -> Any:
        """The table: a row an agent, wave and item. A `pandas.DataFrame`, `pyarrow.Table` or `polars.DataFrame`."""
        match kind:
            case "pandas":
                return self._arrow.to_pandas()
            case "arrow":
                return self._arrow
            case "polars":
                import polars as pl

                return pl.from_arrow(self._arrow)
        raise SettingsError(f"kind={kind!r}: a table is had as 'pandas', 'arrow' or 'polars'.")

    @property
    def waves(self) -> list[int]:
        """The tick before which each wave was asked, in order."""
        ticks = dict(zip(self._arrow["wave"].to_pylist(), self._arrow["tick"].to_pylist(), strict=True))
        return [ticks[wave] for wave in sorted(ticks)]

    def agents(self, wave: int = -1) -> NDArray[np.int32]:
        """Who was asked in a wave: int32, sorted."""
        return np.unique(self._wave(wave)["agent"].to_numpy())

    def weights(self, wave: int = -1) -> Floats:
        """Their weights, in the order of `agents`."""
        rows = self._wave(wave)
        _, first = np.unique(rows["agent"].to_numpy(), return_index=True)
        return np.asarray(rows["weight"].to_numpy()[first], np.float64)

    def answers(self, wave: int = -1) -> Floats:
        """Answers as numbers: (agents, items whose answers are numbers), NaN where there is none."""
        return self._answers_of(wave, self.agents(wave))

    def scores(self, wave: int = -1) -> pd.DataFrame:
        """Scores by the instrument's key: a row an agent, a column a scale, float64."""
        import pandas as pd

        agents = self.agents(wave)
        columns = self.instrument.score(self._answers_of(wave, agents)) if self.instrument.scales else {}
        return pd.DataFrame(columns, index=pd.Index(agents, name="agent"))

    def means(self, wave: int = -1) -> dict[str, float]:
        """The weighted mean of each scale over the agents that have a score; NaN where nobody has."""
        weights, found = self.weights(wave), {}
        for name, column in self.scores(wave).items():
            values = column.to_numpy()
            there = ~np.isnan(values)
            total = weights[there].sum()
            found[str(name)] = float((values[there] * weights[there]).sum() / total) if total > 0 else float("nan")
        return found

    def alphas(self, wave: int = -1) -> dict[str, float]:
        """Cronbach's alpha of each scale of two or more items. Raises ScenarioError for fewer than two agents."""
        return alphas(self.instrument, self.answers(wave))

    def retest(self, first: int = 0, second: int = -1) -> Retests:
        """How alike two waves are over those who were asked in both: each scale by its name, each item by its own.

        Printed, it is a table.
        Raises ScenarioError where fewer than two have both.
        """
        both = np.intersect1d(self.agents(first), self.agents(second))
        return retest_scales(self.instrument, self._answers_of(first, both), self._answers_of(second, both))

    def styles(self, wave: int = -1) -> Styles:
        """Response styles of the agents of a wave, in the order of `agents`."""
        return response_styles(self.instrument, self.answers(wave))

    def text(self) -> str:
        """What each wave came to, a line a scale."""
        lines = []
        for wave, tick in enumerate(self.waves):
            agents, rows = self.agents(wave), self._wave(wave)
            none = [one for one in rows["abstained"].to_pylist() if one is not None]
            without = f", {len(none)} of {rows.num_rows} answers missing" if none else ""
            lines.append(f"{self.name}, wave {wave} before tick {tick}: {counted(len(agents), 'agent')}{without}")
            scores, means = self.scores(wave), self.means(wave)
            width = max(map(len, means), default=0)
            for name, mean in means.items():
                values = scores[name].to_numpy()
                there = values[~np.isnan(values)]
                spread = f", sd {there.std(ddof=1):.3g}" if len(there) > 1 else ""
                cut = self._over(name, there)
                lines.append(f"  {name:<{width}}  mean {mean:.4g}{spread}, {len(there)} scored{cut}")
            lines += self._counted(wave) if not means else []
        lines += [PLACEBO_CAVEAT] if self._of_placebo else [SURVEY_PLACEBO_CAVEAT] if self.placebo else []
        return "\n".join(lines)

    def _over(self, name: str, values: Floats) -> str:
        """What share is at or above the cutoffs of a scale, in words."""
        cutoffs = next((one.cutoffs for one in self.instrument.scales if one.name == name), {})
        if not len(values):
            return ""
        shares = [f"{what} (from {at:g}): {100 * (values >= at).mean():.0f} %" for what, at in cutoffs.items()]
        return f"; {', '.join(shares)}" if shares else ""

    def _counted(self, wave: int) -> list[str]:
        """How often each answer was given, of a survey without scales."""
        rows = self._wave(wave).to_pandas()
        lines = []
        for item, given in rows.groupby("item", sort=False):
            said = given["label"].fillna(given["answer"].map(lambda one: f"{one:g}")).where(given["abstained"].isna())
            counts = said.value_counts().head(_ROWS)
            lines.append(f"  {item}: " + "; ".join(f"{what[:60]} {n}" for what, n in counts.items()))
        return lines

    def _wave(self, wave: int) -> Any:
        import pyarrow.compute as pc

        number = wave if wave >= 0 else len(self.waves) + wave
        rows = self._arrow.filter(pc.equal(self._arrow["wave"], number))
        if not rows.num_rows:
            raise SettingsError(f"survey {self.name!r} has no wave {wave}; it has {len(self.waves)}, counted from 0")
        return rows

    def _answers_of(self, wave: int, agents: NDArray[np.int32]) -> Floats:
        rows = self._wave(wave)
        column = {name: at for at, name in enumerate(self.instrument.item_names)}
        made = np.full((len(agents), len(column)), np.nan)
        given = zip(rows["agent"].to_pylist(), rows["item"].to_pylist(), rows["answer"].to_pylist(), strict=True)
        place = {agent: at for at, agent in enumerate(agents.tolist())}
        for agent, item, value in given:
            if agent in place and item in column and value is not None:
                made[place[agent], column[item]] = value
        return made

    def cost(self) -> str:
        """What the asking came to, in words."""
        spent = self.tally.spent
        paid = f"{spent.calls:,} calls, {money(spent.cost_usd)}" if spent.calls else "no call: all of it was on record"
        return f"{counted(self.tally.asks, 'ask')}; {paid}"

    def __repr__(self) -> str:
        return self.text()
