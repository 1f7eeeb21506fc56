"""One page of metrics for a run, in Prometheus' text format: served over HTTP, and left in a file.

The only importer of prometheus_client. `families` says what there is, `seen` holds what the run has told, `server`
serves it, `files` writes it.
"""

from populace.monitoring.metrics.observer import Metrics
from populace.monitoring.metrics.seen import Ceilings

__all__ = ["Ceilings", "Metrics"]
