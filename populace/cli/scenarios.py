"""`populace scenarios`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def scenarios() -> None:
    """List the scenarios that ship with populace."""
    from populace.agents.types import counts_of
    from populace.data.societies import find_society, load_society, shipped

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("scenario", "agents", "ticks", "about", "parameters"):
        table.add_column(column)
    for name in shipped():
        society = load_society(find_society(name))
        parameters = ", ".join(society.parameters.__struct_fields__)
        table.add_row(name, str(sum(counts_of(society, None).values())), str(society.ticks), society.about, parameters)
    Console().print(table)
