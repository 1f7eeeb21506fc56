"""Traces of a run: spans of it, its ticks and their stages, and of a share of its turns with what they asked.

They are derived at the coordinator from what a tick reports, so nothing of them is in the way of a turn.
"""

from populace.monitoring.traces.observer import Traces

__all__ = ["Traces"]
