"""Writes the dashboards where the package has them."""

from pathlib import Path

from dashboards.make import dashboards

FOLDER = Path(__file__).parents[1] / "populace" / "monitoring" / "grafana"

for name, text in dashboards().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
