"""The figures of a report, by matplotlib, as SVG and PNG. The same input gives the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from populace.core.errors import SettingsError
from populace.core.text import shown_line
from populace.experiments.effects import Found
from populace.experiments.gains import Gained, Quantiles
from populace.experiments.inference.effects import ENDLESS
from populace.experiments.looking import Looked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1c2126"
PAPER: Final = "#ffffff"
CONTROL: Final = "#7a828c"
COLOURS: Final = ("#2f7fc1", "#d9730d", "#2a9d6f", "#a05bc4", "#d1495b", "#9a7b1f", "#1f9aa8", "#c2569b")
"""Of arms, in their order: each stands out from white and from near black."""
_STYLE: Final = {
    "svg.fonttype": "path", "font.size": 9.5, "font.family": "DejaVu Sans", "text.parse_math": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK, "axes.labelcolor": INK,
    "axes.titlesize": 10.5, "axes.titlelocation": "left", "axes.titlecolor": INK, "text.color": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.facecolor": PAPER, "figure.facecolor": PAPER,
    "axes.formatter.useoffset": False, "axes.axisbelow": True, "lines.linewidth": 1.7, "legend.frameon": False,
}  # fmt: skip
_NAME: Final = 34


def colour_of(arms: Sequence[str], arm: str) -> str:
    """An arm's colour, by its place among the treatments."""
    return COLOURS[list(arms).index(arm) % len(COLOURS)]


def trajectories(found: Sequence[Found], control: str, arms: Sequence[str], treated_at: int, level: float) -> Drawn:
    """One outcome by tick: the arms' means, and each one's difference from the control within its band."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        ticks = np.arange(len(found[0].course.control))
        left.plot(ticks, found[0].course.control, color=CONTROL, linestyle="--", label=label(control))
        right.axhline(0.0, color=CONTROL, linewidth=1.0, linestyle="--")
        for one in found:
            colour, course = colour_of(arms, one.arm), one.course
            left.plot(ticks, course.treated, color=colour, label=label(one.arm))
            right.plot(ticks, course.difference, color=colour)
            right.fill_between(ticks, course.low, course.high, color=colour, alpha=0.16, linewidth=0.0)
            for end in (course.low, course.high):
                right.plot(ticks, end, color=colour, linewidth=0.6, alpha=0.7)
        left.set_title(label(found[0].outcome))
        right.set_title(f"difference from {label(control)}, {100 * level:g} % band")
        for axes in (left, right):
            _plain(axes)
            axes.set_xlabel("tick")
            axes.margins(x=0.01)
            if treated_at:
                axes.axvline(treated_at, color=INK, linewidth=0.8, linestyle=":", alpha=0.6)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))

    return drawn(draw, (8.6, 3.5 + 0.2 * ((len(found) + 4) // 4)), f"trajectories {found[0].outcome}")


def forest(found: Sequence[Found], control: str, arms: Sequence[str], level: float) -> Drawn:
    """All effects with their intervals: a row an arm, a panel an outcome with a scale of its own."""
    outcomes = list(dict.fromkeys(one.outcome for one in found))
    rows = [[one for one in found if one.outcome == name] for name in outcomes]
    heights = [0.34 * len(of) + 0.75 for of in rows]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, name, of in zip(panels, outcomes, rows, strict=True):
            _forest_panel(axes, of, arms)
            axes.set_title(label(name))
        panels[-1].set_xlabel(f"difference from {label(control)}, {100 * level:g} % interval")

    return drawn(draw, (8.6, sum(heights) + 0.5), "forest")


def _forest_panel(axes: Axes, found: Sequence[Found], arms: Sequence[str]) -> None:
    axes.axvline(0.0, color=CONTROL, linewidth=1.0, linestyle="--")
    for place, one in enumerate(found):
        colour = colour_of(arms, one.arm)
        axes.plot([one.interval.low, one.interval.high], [place, place], color=colour, solid_capstyle="butt")
        face = colour if one.clear else PAPER
        axes.plot(one.effect.difference, place, "o", color=colour, markerfacecolor=face, markersize=7)
        if one.published is not None:
            axes.plot(one.published, place + 0.22, "D", color=INK, markerfacecolor=PAPER, markersize=5)
    axes.set_yticks(range(len(found)), [label(one.arm) for one in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.margins(x=0.08)
    _plain(axes)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def gains(groups: Sequence[Gained], control: str, arms: Sequence[str], level: float) -> Drawn:
    """Effects on one outcome by the groups of one column: a panel an arm, a row a group, one scale for all."""
    by_arm = {arm: [one for one in groups if one.arm == arm] for arm in dict.fromkeys(one.arm for one in groups)}
    heights = [0.3 * len(of) + 0.7 for of in by_arm.values()]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(by_arm), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (arm, of) in zip(panels, by_arm.items(), strict=True):
            axes.axvline(0.0, color=CONTROL, linewidth=1.0, linestyle="--")
            colour = colour_of(arms, arm)
            for place, one in enumerate(of):
                axes.plot([one.interval.low, one.interval.high], [place, place], color=colour, solid_capstyle="butt")
                face, mark = colour if one.clear else PAPER, "D" if one.apart else "o"
                axes.plot(one.effect.difference, place, mark, color=colour, markerfacecolor=face, markersize=7)
            axes.set_yticks(range(len(of)), [label(one.group) for one in of])
            axes.set_ylim(len(of) - 0.4, -0.6)
            axes.margins(x=0.08)
            axes.set_title(label(arm))
            _plain(axes)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        panels[-1].set_xlabel(
            f"{label(groups[0].outcome)}: difference from {label(control)}, {100 * level:g} % interval"
        )

    return drawn(draw, (8.6, sum(heights) + 0.5), f"gains {groups[0].outcome} {groups[0].column}")


def quantiles(moved: Sequence[Quantiles], control: str, arms: Sequence[str], level: float) -> Drawn:
    """How far each quantile of agents' outcomes moves, a panel an arm, within a band that holds all of them."""
    columns = min(len(moved), 3)
    rows = -(-len(moved) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, one in zip(panels, moved, strict=False):
            colour, of = colour_of(arms, one.arm), one.found
            axes.axhline(0.0, color=CONTROL, linewidth=1.0, linestyle="--")
            moves = [effect.difference for effect in of.effects]
            axes.plot(of.quantiles, moves, "o-", color=colour)
            if of.band is not None and of.band.critical < ENDLESS:
                axes.fill_between(of.quantiles, of.band.low, of.band.high, color=colour, alpha=0.16, linewidth=0.0)
            axes.set_title(label(one.arm))
            axes.set_xticks(of.quantiles)
            _plain(axes)
        for axes in panels[len(moved) :]:
            axes.set_visible(False)
        figure.supxlabel(f"quantile of agents' {label(moved[0].outcome)}", fontsize=9.5)
        figure.supylabel(f"difference from {label(control)}, {100 * level:g} % band", fontsize=9.5)

    return drawn(draw, (8.6, 0.7 + 2.3 * rows), f"quantiles {moved[0].outcome}")


def sequences(looked: Looked, control: str, arms: Sequence[str], level: float) -> Drawn:
    """The anytime-valid intervals of one outcome after each replicate, a panel an arm; dotted lines are looks."""
    courses = [one for one in looked.courses if one.outcome == looked.outcome]
    columns = min(len(courses), 3)
    rows = -(-len(courses) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, one in zip(panels, courses, strict=False):
            colour, sequence = colour_of(arms, one.arm), one.sequence
            pairs = np.arange(1, len(sequence.low) + 1)
            axes.axhline(0.0, color=CONTROL, linewidth=1.0, linestyle="--")
            axes.fill_between(pairs, sequence.low, sequence.high, color=colour, alpha=0.16, linewidth=0.0, step="post")
            axes.step(pairs, sequence.low, where="post", color=colour, linewidth=0.9)
            axes.step(pairs, sequence.high, where="post", color=colour, linewidth=0.9)
            axes.plot(pairs, sequence.estimates, color=colour)
            for at in dict.fromkeys(look.replicates for look in looked.looks):
                axes.axvline(at, color=INK, linewidth=0.7, linestyle=":", alpha=0.5)
            axes.set_title(label(one.arm))
            _plain(axes)
        for axes in panels[len(courses) :]:
            axes.set_visible(False)
        figure.supxlabel("pairs", fontsize=9.5)
        figure.supylabel(f"difference from {label(control)}, {100 * level:g} %", fontsize=9.5)

    return drawn(draw, (8.6, 0.7 + 2.5 * rows), f"looks {looked.outcome}")


def _plain(axes: Axes) -> None:
    axes.grid(visible=True, axis="both" if axes.get_lines() else "x", color="#9aa4b2", alpha=0.3, linewidth=0.6)


def label(name: str) -> str:
    """A name as a figure shows it: of one line, not too long, and none that matplotlib would leave out."""
    shown = shown_line(name)
    shown = shown if len(shown) <= _NAME else f"{shown[: _NAME - 1]}…"
    return f"\u200a{shown}" if shown.startswith("_") else shown


Drawn = tuple[str, bytes]
"""A figure as SVG, and as PNG."""


def drawn(draw: Callable[[Any], None], size: tuple[float, float], name: str) -> Drawn:
    """A figure of that size in inches, as SVG and PNG. Raises SettingsError where matplotlib is not installed."""
    with _styled(name) as make:
        figure = make(figsize=size, layout="constrained")
        draw(figure)
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return svg.getvalue().decode(), png.getvalue()


@contextmanager
def _styled(name: str) -> Iterator[Any]:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise SettingsError("figures need matplotlib: pip install 'populace[experiments]'") from None
    with rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that the font has not
        yield Figure


def inline(svg: str, name: str, alt_id: str) -> str:
    """An SVG as a page holds it: ids of its own, ink in the page's colour, no ground, named by the element `alt_id`."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", body)
    body = body.replace(f"fill: {PAPER}", "fill: none").replace(INK, "currentColor")
    return re.sub(r"^<svg", f'<svg role="img" aria-labelledby="{alt_id}"', body, count=1)
