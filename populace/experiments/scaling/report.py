"""What a scaling study shows: a page of Markdown and a picture. The words are pure; `write_report` writes files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from populace.core.errors import SettingsError
from populace.experiments.scaling.fits import Fit, coordinator_at, fit_line, project
from populace.experiments.scaling.measures import Measured
from populace.experiments.scaling.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Assumed(msgspec.Struct, frozen=True):
    """The run that is projected: agents, cores (a shard each), ticks, what its model answers, and prices in USD."""

    agents: int
    cores: int
    ticks: int
    asks_per_s: float = 0.0
    usd_per_core_hour: float = 0.0
    usd_per_model_hour: float = 0.0


def grouped(study: Study) -> dict[tuple[int, int], list[Measured]]:
    """The repeats of each (agents, shards)."""
    found: dict[tuple[int, int], list[Measured]] = {}
    for one in study.measured:
        found.setdefault((one.cell.agents, one.cell.shards), []).append(one)
    return dict(sorted(found.items()))


def report(study: Study, assumed: Assumed) -> str:
    """The page."""
    sizes = sorted({one.cell.agents for one in study.measured})
    shards = sorted({one.cell.shards for one in study.measured})
    said = (
        f"{len(study.measured)} runs of {study.ticks} ticks, model {study.model}, transport {study.transport}, on "
        f"{study.machine['processors']} processors with {study.machine['memory_bytes'] / 2**30:.0f} GiB "
        f"(Python {study.machine['python']}); they cost ${study.cost_usd:.4g}. Medians over repeats; the first tick of "
        "a run is not timed. The engine's time is a tick's without what its slowest agent waited for the model."
    )
    columns = (
        "agents", "shards", "turns/s", "asks/s", "messages/s", "tick p50", "p99", "engine a tick", "coordinator",
        "checkpoints", "CPU a turn", "memory an agent",
    )  # fmt: skip
    lines = [f"# What {study.society} costs as it grows", "", said, "", *_head(columns)]
    for (agents, of), cells in grouped(study).items():
        at = {name: median(getattr(one, name) for one in cells) for name in _FIGURES}
        lines.append(
            f"| {agents:,} | {of} | {at['turns_per_s']:,.0f} | {at['asks_per_s']:,.0f} | {at['messages_per_s']:,.0f} | "
            f"{_time(at['tick_p50_s'])} | {_time(at['tick_p99_s'])} | {_time(at['engine_s'])} | "
            f"{_time(at['coordinator_s'])} | {_time(at['checkpoint_s'])} | {1e6 * at['cpu_s_a_turn']:,.0f} us | "
            f"{_bytes(at['bytes_an_agent'])} |"
        )
    lines += ["", *_strong(study, sizes, shards), *_weak(study), *_fitted(study, shards), "", "## The coordinator", ""]
    lines += [
        "Processor time a tick of its state machine over simulated shards, each of which sends to 16 others:",
        "",
        "| shards | " + " | ".join(f"{of:,}" for of, _ in study.coordinator) + " |",
        "|---|" + "---:|" * len(study.coordinator),
        "| a tick | " + " | ".join(_time(taken) for _, taken in study.coordinator) + " |",
        "",
        *_projected(study, assumed),
    ]
    return "\n".join(lines) + "\n"


def _head(columns: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|" + "---:|" * len(columns)]


_FIGURES = [
    "turns_per_s", "asks_per_s", "messages_per_s", "tick_p50_s", "tick_p99_s", "engine_s", "coordinator_s",
    "checkpoint_s", "cpu_s_a_turn", "bytes_an_agent",
]  # fmt: skip


def _strong(study: Study, sizes: Sequence[int], shards: Sequence[int]) -> list[str]:
    """The same work on more shards."""
    if len(shards) < 2:
        return []
    cells = grouped(study)
    lines = ["## The same agents on more shards", "", "Turns a second, in times of those on the fewest shards:", ""]
    lines += [
        "| agents | " + " | ".join(f"{of} shard{'s' * (of > 1)}" for of in shards) + " |",
        "|---:|" + "---:|" * len(shards),
    ]
    for size in sizes:
        first = median(one.turns_per_s for one in cells[size, shards[0]])
        times = [median(one.turns_per_s for one in cells[size, of]) / first for of in shards]
        lines.append(f"| {size:,} | " + " | ".join(f"{one:.2f}" for one in times) + " |")
    return [*lines, ""]


def _weak(study: Study) -> list[str]:
    """As much work for each shard."""
    cells = grouped(study)
    by_load: dict[float, list[tuple[int, int]]] = {}
    for agents, of in cells:
        by_load.setdefault(agents / of, []).append((agents, of))
    rows = [(load, places) for load, places in sorted(by_load.items()) if len(places) > 1]
    if not rows:
        return []
    lines = ["## As many agents a shard", "", "A tick's median, in times of the fewest shards':", ""]
    lines += ["| agents a shard | shards | tick |", "|---:|---:|---:|"]
    for load, places in rows:
        first = median(one.tick_p50_s for one in cells[places[0]])
        for place in places:
            lines.append(f"| {load:,.0f} | {place[1]} | {median(o.tick_p50_s for o in cells[place]) / first:.2f} |")
    return [*lines, ""]


def cost_fit(study: Study, shards: int) -> tuple[Fit, Fit] | None:
    """Lines over agents of processor seconds a tick and of memory in bytes; None with one size."""
    at = [one for one in study.measured if one.cell.shards == shards]
    sizes = [one.cell.agents for one in at]
    if len(set(sizes)) < 2:
        return None
    cpu = fit_line(sizes, [max(one.cpu_s_a_turn * one.turns_a_tick, 1e-9) for one in at])
    return cpu, fit_line(sizes, [one.bytes_an_agent * one.cell.agents for one in at])


def _fitted(study: Study, shards: Sequence[int]) -> list[str]:
    rows = [(of, fits) for of in shards if (fits := cost_fit(study, of)) is not None]
    if not rows:
        return ["One size was measured, so no line can be drawn: give several (--agents 1e3,1e4,1e5).", ""]
    lines = [
        "## What an agent costs", "",
        "Lines through all runs, with 95 % intervals by the bootstrap over runs"
        + (":" if any(cpu.judged for _, (cpu, _) in rows) else "; of so few runs and sizes there are none:"), "",
        "| shards | CPU a tick | for each agent | memory | for each agent |", "|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for of, (cpu, memory) in rows:
        low, high = (f"{1e6 * one:,.1f}" for one in cpu.each_interval)
        less, more = (_bytes(one) for one in memory.each_interval)
        of_cpu, of_memory = (f" ({low} to {high})", f" ({less} to {more})") if cpu.judged else ("", "")
        lines.append(
            f"| {of} | {_time(cpu.fixed)} | {1e6 * cpu.each:,.1f} us{of_cpu} | "
            f"{_bytes(memory.fixed)} | {_bytes(memory.each)}{of_memory} |"
        )
    return [*lines, ""]


def _projected(study: Study, assumed: Assumed) -> list[str]:
    shards = max(one.cell.shards for one in study.measured)
    if (fits := cost_fit(study, shards)) is None:
        return []
    if fits[0].each_interval[0] <= 0.0:
        none = (
            "None is projected: over the sizes measured the processor time of a tick does not clearly grow with the "
            "agents, so what a tick costs apart from them hides what they cost. Measure larger sizes, and more ticks."
        )
        return ["## A larger run", "", none, ""]
    turns = median(one.turns_a_tick / one.cell.agents for one in study.measured)
    asks = median(one.asks_per_s / one.turns_per_s if one.turns_per_s else 0.0 for one in study.measured) * turns
    at = project(
        *fits,
        agents=assumed.agents,
        cores=assumed.cores,
        ticks=assumed.ticks,
        asks_an_agent=asks,
        asks_per_s=assumed.asks_per_s,
        coordinator_s=coordinator_at(assumed.cores, study.coordinator),
        usd_per_core_hour=assumed.usd_per_core_hour,
        usd_per_model_hour=assumed.usd_per_model_hour,
    )
    beyond = assumed.agents / max(one.cell.agents for one in study.measured)
    model = (
        f"a model that answers {assumed.asks_per_s:,.0f} asks a second would need {_time(at.model_s)} for the "
        f"{asks * assumed.agents:,.0f} asks of a tick"
        if assumed.asks_per_s and asks
        else "no model is counted"
    )
    found = (
        f"{assumed.agents:,} agents on {assumed.cores} cores, {assumed.ticks} ticks: **{_time(at.tick_s)} a tick, "
        f"{_time(at.run_s)} in all**, bound by {at.bound_by}; {_bytes(at.memory_bytes)} of memory over all processes; "
        f"${at.cores_usd:,.2f} for cores at ${assumed.usd_per_core_hour:g} an hour each, ${at.model_usd:,.2f} for the "
        "model."
    )
    by = (
        f"Assumed: the processor time of the line for {shards} shards, {beyond:,.3g} times beyond the largest size "
        f"measured, spread evenly over the cores ({_time(at.engine_s)} a tick); {model}; the coordinator needs "
        f"{_time(at.coordinator_s)}; a tick is as those measured, {turns:.2f} turns an agent. No network between "
        "nodes, no straggler and no world's closing on one core are in it: a run at a tenth of the size says more."
    )
    return ["## A larger run, projected", "", found, "", by, ""]


def figure(study: Study) -> Figure:
    """Turns a second, and memory, over agents, a line for each number of shards. Raises SettingsError."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SettingsError("pictures need matplotlib: pip install 'populace[plot]'") from None
    drawn = Figure(figsize=(9, 3.6), layout="constrained")
    speed, memory = drawn.subplots(1, 2)
    for of in sorted({one.cell.shards for one in study.measured}):
        at = [one for one in study.measured if one.cell.shards == of]
        sizes = sorted({one.cell.agents for one in at})
        for axes, name, unit in ((speed, "turns_per_s", 1.0), (memory, "bytes_an_agent", 2**10)):
            points = [(one.cell.agents, getattr(one, name) / unit) for one in at]
            middle = [median(y for x, y in points if x == size) for size in sizes]
            (line,) = axes.plot(sizes, middle, label=f"{of} shard{'s' if of > 1 else ''}")
            axes.scatter(*zip(*points, strict=True), color=line.get_color(), s=14)
    for axes, title in ((speed, "turns a second"), (memory, "KiB an agent, all processes")):
        axes.set(xscale="log", yscale="log", xlabel="agents", title=title)
        axes.grid(alpha=0.3, which="both")
    speed.legend()
    return drawn


def write_report(study: Study, assumed: Assumed, folder: Path) -> list[Path]:
    """Write report.md, and scaling.svg where matplotlib is there; the files."""
    page = folder / "report.md"
    text, written = report(study, assumed), [page]
    try:
        drawn = figure(study)
    except SettingsError:
        page.write_text(text)
        return written
    picture = folder / "scaling.svg"
    drawn.savefig(picture, metadata={"Date": None})
    head, _, rest = text.partition("\n\n")
    page.write_text(f"{head}\n\n![turns a second and memory an agent, over agents]({picture.name})\n\n{rest}")
    return [*written, picture]


def _time(seconds: float) -> str:
    for unit, factor, most in (("us", 1e6, 1e-3), ("ms", 1e3, 1.0), ("s", 1.0, 120.0), ("min", 1 / 60, 7200.0)):
        if seconds < most:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds / 3600:,.3g} h"


def _bytes(of: float) -> str:
    for unit, factor in (("B", 1.0), ("KiB", 2**10), ("MiB", 2**20)):
        if of < 1024 * factor:
            return f"{of / factor:.3g} {unit}"
    return f"{of / 2**30:.3g} GiB"
