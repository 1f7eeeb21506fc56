"""Makes the report of an experiment's folder, and writes it there. Shell: files."""

from __future__ import annotations

from pathlib import Path

from populace.experiments.design import folder_of
from populace.experiments.inference.arrays import LEAST
from populace.experiments.report import sections, shown_effects, shown_gains, shown_looks
from populace.experiments.report.as_html import page_of
from populace.experiments.report.as_markdown import markdown_of
from populace.experiments.report.document import Document, Section
from populace.experiments.report.leads import leads_of
from populace.experiments.report.provenance import provenance
from populace.experiments.report.spent import cost
from populace.experiments.results import Results
from populace.files import write_whole
from populace.store.manifest import read_manifest
from populace.store.storage import make_folder

PAGE, MARKDOWN, FIGURES = "report.html", "report.md", "figures"


def report_of(results: Results, level: float = 0.95) -> Document:
    """The report of an experiment as far as it has come. Raises SettingsError where a library is missing."""
    design, complete = results.design, results.complete
    manifests = {
        arm.name: [read_manifest(results.folder / folder_of(arm, one)) for one in complete] for arm in design.arms
    }
    effects = results.effects(level) if len(complete) >= LEAST else None
    made: list[Section | None] = [sections.question(design), sections.design(design), sections.fidelity(results)]
    if effects is not None and effects.found:
        made += [shown_effects.trajectories(results, effects), shown_effects.effects_section(effects, design)]
    if effects is not None:
        made.append(shown_looks.looks(results, effects))
        made.append(shown_gains.gains(results, effects))
        made.append(shown_effects.failures(effects))
    made += [sections.audits(results), cost(manifests, effects), provenance(results, manifests)]
    leads = leads_of(results, effects, manifests)
    return Document(f"Report of {design.name}", leads, tuple(one for one in made if one is not None))


def write_report(results: Results, out: Path | None = None, level: float = 0.95) -> Document:
    """Write `report.html`, `report.md` and `figures/` into the experiment's folder, or into `out`.

    The same folder gives the same bytes. Raises StorageError, and SettingsError where a library is missing.
    """
    document = report_of(results, level)
    folder = results.folder if out is None else out
    make_folder(folder)
    make_folder(folder / FIGURES)
    for one in document.figures:
        write_whole(folder / FIGURES / f"{one.name}.svg", one.svg.encode())
        write_whole(folder / FIGURES / f"{one.name}.png", one.png)
    write_whole(folder / PAGE, page_of(document).encode())
    write_whole(folder / MARKDOWN, markdown_of(document).encode())
    return document
