"""The environment service and its parts. Pure: state is NumPy columns, and nothing here does I/O."""

from populace.env.columns import Columns
from populace.env.part import Action, Batch, LookFailed, Opening, Part, action, query
from populace.env.world import Resolved, World

__all__ = [
    "Action",
    "Batch",
    "Columns",
    "LookFailed",
    "Opening",
    "Part",
    "Resolved",
    "World",
    "action",
    "query",
]
