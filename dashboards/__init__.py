"""Grafana's dashboards for runs, as code: `python -m dashboards` writes the JSON that the package ships."""
