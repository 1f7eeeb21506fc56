"""How a run is watched: metrics (the only importer of prometheus_client), progress, summary."""
