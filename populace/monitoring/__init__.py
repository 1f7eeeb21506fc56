"""How a run is watched: progress, metrics, the summary at its end.

The coordinator tells an `Audience` what happens (`report`); each `Observer` in it shows that in its own way:
`progress` in a terminal or as JSON lines, `metrics` to Prometheus (the only importer of prometheus_client). `summary`
reads a finished run's manifest; `pace` works out its speed and is pure. Observers are told, and have no way to steer a
run.
"""
