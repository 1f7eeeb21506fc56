"""What a person is told of a sealed study: whose code it is, and what was the same. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from populace.core.text import shown_line, shown_text
from populace.experiments.sealing.listed import Seal

if TYPE_CHECKING:
    from populace.experiments.sealing.verifying import Recomputed, Verified

_DIFFERENCES: Final = 20


def seal_text(seal: Seal) -> str:
    """Who sealed what, when and with what, and which code a verification executes; nothing of this is vouched for."""
    models = " and ".join(sorted({one.model for one in seal.runs}))
    lines = [
        f"study      {seal.study}",
        f"question   {seal.question or '-'}",
        f"sealed by  {seal.author} on {seal.host}, {seal.sealed}; designed {seal.registered}",
        f"answers    {models}, in {len(seal.runs):,} runs",
        "made with  " + ", ".join(f"{name} {seal.versions.get(name, '?')}" for name in ("populace", "python", "numpy")),
        f"digest     {seal.digest}",
        f"code that a verification executes: {sum(one.lines for one in seal.code):,} lines, and what they read:",
        *(f"  {name}  SHA-256 {one.sha256}" for name, one in seal.members.items() if name.startswith("society/")),
    ]
    return "\n".join(map(shown_line, lines)) + "\n"


def verified_text(verified: Verified) -> str:
    """The table of a verification: an arm a row, then what differs, then in a line what came of it."""
    rows: list[tuple[str, ...]] = [("arm", "runs", "ticks", "trace hashes", "world hashes", "figures")]
    arms = dict.fromkeys(one.arm for one in verified.runs)
    rows += (_row(arm, [one for one in verified.runs if one.arm == arm]) for arm in arms)
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for one in verified.differences[:_DIFFERENCES]:
        at = "" if one.tick is None else f", tick {one.tick}"
        lines.append(f"differs: {one.member} (run {one.run}{at}): {one.why}")
    if (more := len(verified.differences) - _DIFFERENCES) > 0:
        lines.append(f"... and {more:,} more")
    close = sum(one.close for one in verified.runs)
    if close:
        lines.append(f"{close:,} figures differ from the sealed ones in their last digits only.")
    for name, version in verified.here.items():
        lines.append(f"note: {name} is {version} here, and was {verified.seal.versions[name]} when it was sealed")
    if verified.holds:
        lines.append(f"verified: every run came to what was sealed, with no call. Digest {verified.seal.digest}")
    else:
        lines.append(f"not verified: {len(verified.differences):,} things differ from what was sealed.")
    return shown_text("\n".join(lines) + "\n")


def _row(arm: str, runs: list[Recomputed]) -> tuple[str, ...]:
    worlds = [one.world for one in runs if one.world is not None]
    return (
        shown_line(arm),
        f"{len(runs):,}",
        _of(sum(one.ticks for one in runs), sum(one.sealed_ticks for one in runs)),
        _of(sum(one.trace for one in runs), len(runs)),
        _of(sum(worlds), len(worlds)) if worlds else "-",
        _of(sum(one.same + one.close for one in runs), sum(one.figures for one in runs)),
    )


def _of(same: int, there: int) -> str:
    return f"{same:,} of {there:,} the same"
