"""The closing lines of a run, for a person: what came out, what it cost, where it is, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from populace.core.records import DEFAULT_ROLE
from populace.core.text import shown_line
from populace.monitoring.pace import counted, duration_text
from populace.monitoring.progress import money

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_SPARK_CELLS: Final = 24
_EXACT: Final = 2.0**53
"""Whole numbers below it are exact as floats."""
_LARGE: Final = 1000.0

EMBEDDED_CAVEAT: Final = (
    "The answers came from the embedded model of 135 million parameters: this run shows that the machine works, "
    "not what people think. A larger one is one setting away: model.path (a GGUF file), or model.kind=openai."
)
SCRIPTED_CAVEAT: Final = "The answers were scripted and no model was asked: this run says nothing about people."
PLACEBO_CAVEAT: Final = (
    "The answers were drawn by lot to fit their types and no model was asked: this run is a placebo, and says nothing "
    "about people. What it shows owes nothing to what was asked."
)
SURVEY_PLACEBO_CAVEAT: Final = (
    "The survey's answers were drawn by lot to fit their types and no model was asked: this survey is a placebo, and "
    "says nothing about people or about the run's agents."
)
RULES_CAVEAT: Final = (
    "The answers came from the society's own rules and no model was asked: what this run shows is what the theory in "
    "them says, and nothing about models or people."
)

ASKED_NOTHING_CAVEAT: Final = (
    "The society asked nothing, so nothing answered: what this run shows is what its code says, and nothing about "
    "models or people."
)


def print_summary(
    manifest: Mapping[str, Any], outcomes: Mapping[str, Sequence[float]], out: Path | str, stream: TextIO
) -> None:
    """Print the closing lines of a run to `stream`: tables on a terminal, plain text otherwise.

    `outcomes` holds each outcome's values in order of ticks (`populace.store.tables.tables.outcome_series`).
    """
    if not stream.isatty():
        stream.write(summary_text(manifest, outcomes, out))
        stream.flush()
        return
    console = Console(file=stream, highlight=False)
    if outcomes:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("outcome")
        table.add_column("first", justify="right", no_wrap=True)
        table.add_column("last", justify="right", no_wrap=True)
        table.add_column("over time", no_wrap=True)
        for name, values in outcomes.items():
            first, last = _ends(values)
            line = Text(sparkline(values), style="cyan")
            table.add_row(Text(shown_line(name)), first, Text(last, style="bold"), line)
        console.print(table)
        console.print()
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in _facts(manifest, out).items():
        facts.add_row(name, Text(shown_line(text)))
    console.print(facts)
    for text in caveats(manifest):
        console.print()
        console.print(Text(shown_line(text), style="yellow"))


def summary_text(manifest: Mapping[str, Any], outcomes: Mapping[str, Sequence[float]], out: Path | str) -> str:
    """The closing lines as plain text in ASCII (but for what the society itself names), a line for each thing."""
    lines = []
    for name, values in outcomes.items():
        first, last = _ends(values)
        lines.append(f"outcome {name}: {first} -> {last}")
    lines += [f"{name}: {text}" for name, text in _facts(manifest, out).items()]
    lines += caveats(manifest)
    return "\n".join(map(shown_line, lines)) + "\n"


def caveats(manifest: Mapping[str, Any]) -> list[str]:
    """What a reader of this run must know before believing it."""
    model = manifest["settings"].get("model", {})
    asks, found = manifest["asks"], []
    if manifest["turns"] and not asks["made"]:
        found.append(ASKED_NOTHING_CAVEAT)
    elif model.get("kind") == "embedded" and not model.get("path"):
        found.append(EMBEDDED_CAVEAT)
    elif model.get("kind") == "scripted":
        found.append(PLACEBO_CAVEAT if manifest.get("answers") == "placebo" else SCRIPTED_CAVEAT)
    elif model.get("kind") == "rules":
        found.append(RULES_CAVEAT)
    found += _role_caveats(manifest)
    ended = sum(asks[how] for how in ("answered", "cached", "replayed", "abstained")) + asks.get("surrogate", 0)
    if not manifest.get("valid", True):
        found.append(
            f"This run is not valid: {manifest['why_invalid']} Do not use its figures; see reason and detail in "
            "asks.parquet."
        )
    elif asks["abstained"] * 10 > ended:
        share = 100 * asks["abstained"] / ended
        found.append(f"{share:.0f}% of the asks have no answer: see reason and detail in asks.parquet.")
    until, came = manifest["settings"].get("until_interactions"), _interactions(manifest)
    if until is not None and came < until:
        found.append(f"It ended after {came:,} of the {until:,} interactions that were to end it.")
    found += manifest.get("lever_notes", ())
    if lost := manifest.get("salvaged"):
        found.append(f"Of a damaged journal ({', '.join(lost)}) a part is lost: a replay may find no answer there.")
    if manifest.get("turns_failed"):
        found.append(f"{counted(manifest['turns_failed'], 'turn')} ended by an exception: see failures.parquet.")
    if misfits := manifest.get("actions", {}).get("refused_by_reason", {}).get("bad_arguments"):
        found.append(
            f"{counted(misfits, 'action')} had arguments that do not fit, by name or type (bad_arguments), and did "
            "nothing: see args in actions.parquet."
        )
    return found


def _interactions(manifest: Mapping[str, Any]) -> int:
    return int(manifest["messages"]["delivered"]) + int(manifest.get("actions", {}).get("applied", 0))


_CAVEATS: Final[Mapping[str, str]] = {
    "embedded": EMBEDDED_CAVEAT, "scripted": SCRIPTED_CAVEAT, "placebo": PLACEBO_CAVEAT, "rules": RULES_CAVEAT,
}  # fmt: skip


def _role_caveats(manifest: Mapping[str, Any]) -> list[str]:
    """What to know of the models of roles: where one answered otherwise than the default one, or is not set."""
    roles, asked = manifest.get("roles", {}), manifest["asks"].get("by_role", {})
    unset = [role for role, about in roles.items() if not about["set"]]
    found = [
        f"Of the model role {role!r}: {_CAVEATS[about['answers']]}"
        for role, about in roles.items()
        if role in asked and about["answers"] != manifest.get("answers") and about["answers"] in _CAVEATS
    ]
    found += [unset_role(role, [one for one in roles if one not in asked]) for role in unset]
    return found


def unset_role(role: str, others: Iterable[str]) -> str:
    """What to tell of a model role that was asked and is not set; `others` are those that are set and nobody asked."""
    near = get_close_matches(role, others, 1)
    meant = f" Is {near[0]!r} meant, which nobody asked?" if near else ""
    return f"The settings name no model role {role!r}: the default model answered it.{meant}"


def _facts(manifest: Mapping[str, Any], out: Path | str) -> dict[str, str]:
    messages, asks = manifest["messages"], manifest["asks"]
    facts = {"status": str(manifest["status"])} if manifest.get("status") else {}
    facts["run"] = (
        f"{manifest['scenario']}, {counted(manifest['agents'], 'agent')}, {counted(manifest['ticks'], 'tick')}, "
        f"{counted(manifest['turns'], 'turn')} in {duration_text(manifest['wall_s'])}"
    )
    facts["messages"] = (
        f"{messages['sent']:,} sent: {messages['delivered']:,} delivered, {messages['expired']:,} expired, "
        f"{messages['refused']:,} refused" + _reasons(messages.get("refused_by_reason", {}))
    )
    actions = manifest.get("actions", {})
    if actions.get("taken"):
        facts["actions"] = (
            f"{actions['taken']:,} taken: {actions['applied']:,} applied, {actions['refused']:,} refused"
            + _reasons(actions["refused_by_reason"])
        )
    rounds = manifest.get("rounds", {})
    if rounds.get("contributions"):
        facts["rounds"] = (
            f"{rounds['held']:,} held, {rounds['contributions']:,} contributions: {rounds['heard']:,} heard, "
            f"{rounds['closed']:,} closed" + _reasons(rounds["closed_by_reason"])
        )
    facts["asks"] = (
        f"{asks['answered']:,} answered, {asks['cached']:,} cached, {asks['replayed']:,} replayed, "
        f"{asks['abstained']:,} abstained" + _reasons(asks["by_reason"])
    )
    if surrogates := manifest.get("surrogates"):
        facts["surrogates"] = _surrogate_text(surrogates)
    if roles := manifest.get("roles"):
        facts["models"] = "; ".join(_role_text(manifest, role, about) for role, about in roles.items())
    facts["cost"] = (
        f"{money(manifest['cost_usd'])} for {manifest['calls_billed']:,} calls, "
        f"{manifest['tokens_in']:,} tokens in, {manifest['tokens_out']:,} out"
    )
    if estimated := manifest.get("estimated_tokens"):
        facts["estimated"] = (
            f"{estimated:,} of these tokens ({money(manifest['estimated_usd'])}): the endpoint did not tell, what "
            "it told cannot be true, or a call broke off"
        )
    saved = manifest.get("saved") or {"calls": 0, "usd": 0.0}
    if saved["calls"]:
        facts["saved"] = f"{saved['calls']:,} calls ({money(saved['usd'])}) that the run before had paid for"
    if shared := manifest.get("shared_limits"):
        facts["limits"] = shared_text(shared)
    facts["memory"] = f"{manifest['peak_rss_mb']:,.0f} MB at most"
    facts["trace hash"] = str(manifest["trace_hash"])
    if manifest.get("world_hash"):
        facts["world hash"] = str(manifest["world_hash"])
    facts["tables"] = str(out)
    return facts


def shared_text(shared: Mapping[str, Any]) -> str:
    """Where a run shared its account's limits per minute, and with how many others at once."""
    others = shared["runs"] - 1
    beside = f"with up to {counted(others, 'other run')} at once" if others else "with no other run meanwhile"
    apart = f"; {counted(shared['apart'], 'run')} named other limits for the account" if shared["apart"] else ""
    return f"shared at {shared['at']}, {beside}{apart}"


def _surrogate_text(came: Mapping[str, Any]) -> str:
    """What surrogates answered, and how far they were from the model."""
    excess = came["excess_disagreement"]
    off = "" if excess is None else f", {excess:+.1%} disagreement beyond chance"
    alarms = f", {counted(came['alarms'], 'alarm')}" if came["alarms"] else ""
    return f"{counted(came['answered'], 'ask')} answered, {counted(came['audits'], 'audit')}{off}{alarms}"


def _role_text(manifest: Mapping[str, Any], role: str, about: Mapping[str, Any]) -> str:
    """A model role, who answered it, and what that came to."""
    parts = manifest["asks"]["by_role"].get(role, {}).values()
    if not manifest["asks"]["by_role"] and role == DEFAULT_ROLE:
        parts = manifest["asks"]["by_purpose"].values()
    usd = math.fsum(part["cost_usd"] for part in parts)
    cost = f", {money(usd)}" if usd else ""
    return f"{role} {about['model']}: {counted(sum(part['asks'] for part in parts), 'ask')}{cost}"


def _reasons(counts: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
    return f" ({reasons})" if reasons else ""


def _ends(values: Sequence[float]) -> tuple[str, str]:
    return (_number(values[0]), _number(values[-1])) if values else ("none", "none")


def _number(value: float) -> str:
    """A whole number in full, with separators; any other to four digits after the first that counts."""
    if not math.isfinite(value):
        return "undefined"
    if value == int(value) and abs(value) < _EXACT:
        return f"{int(value):,}"
    return f"{value:,.2f}" if _EXACT > abs(value) >= _LARGE else f"{value:.4g}"


def sparkline(values: Sequence[float], cells: int = _SPARK_CELLS) -> str:
    """Values over time in at most `cells` characters, from their least (lowest) to their greatest.

    When there are more values than cells, each cell shows the mean of its share of them. A cell without a finite
    value is blank; values that are all alike are a line at half height.
    """
    n = min(cells, len(values))
    scale = max((abs(value) for value in values if math.isfinite(value)), default=1.0) or 1.0  # sums must not overflow
    means = []
    for cell in range(n):
        share = values[cell * len(values) // n : (cell + 1) * len(values) // n]
        finite = [value for value in share if math.isfinite(value)]
        means.append(math.fsum(value / scale for value in finite) / len(finite) if finite else math.nan)
    known = [mean for mean in means if not math.isnan(mean)]
    if not known:
        return " " * n
    low, high = min(known), max(known)
    top = len(_BLOCKS) - 1
    marks = []
    for mean in means:
        if math.isnan(mean):
            marks.append(" ")
        elif high == low:
            marks.append(_BLOCKS[top // 2])
        else:
            marks.append(_BLOCKS[round(top * ((mean - low) / (high - low)))])
    return "".join(marks)
