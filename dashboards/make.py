"""Builds the dashboards with Grafana's foundation SDK: what each panel shows stands in `panels`."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import GraphDrawStyle, LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableHide, VariableRefresh

from dashboards.panels import FLEET, RUN, Panel, Row

_SOURCE: Final = DataSourceRef("prometheus", "${datasource}")
_COLUMNS: Final = 24


def dashboards() -> dict[str, str]:
    """The text of each dashboard's file, by its name."""
    runs = _variable("run", "Run", 'label_values(populace_run_info{experiment=~"$experiment"}, run)')
    experiments = _variable("experiment", "Experiment", "label_values(populace_run_info, experiment)", several=True)
    return {
        "run.json": _dashboard("populace-run", "populace: a run", RUN, [experiments, runs], "30m"),
        "fleet.json": _dashboard("populace-fleet", "populace: all runs", FLEET, [experiments], "3h"),
    }


def _variable(name: str, label: str, query: str, *, several: bool = False) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(label).query(query).datasource(_SOURCE)
    variable = variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.multi(True).include_all(True).all_value(".*") if several else variable


def _dashboard(uid: str, title: str, rows: list[Row], variables: list[dashboard.QueryVariable], since: str) -> str:
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    made = dashboard.Dashboard(title).uid(uid).tags(["populace"]).refresh("10s").time(f"now-{since}", "now")
    made = made.timezone("browser").with_variable(source.hide(VariableHide.DONT_HIDE))
    for variable in variables:
        made = made.with_variable(variable)
    at = 0
    for row in rows:
        made = made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            at += 1
            made = made.with_panel(_panel(panel, at, _COLUMNS // min(4, len(row.panels))))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def _panel(panel: Panel, number: int, span: int) -> stat.Panel | timeseries.Panel:
    shown: stat.Panel | timeseries.Panel
    if panel.now:
        shown = stat.Panel().height(4)
    else:
        legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        shown = timeseries.Panel().height(8).legend(legend.show_legend(True))
        shown = shown.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        shown = shown.draw_style(GraphDrawStyle.LINE).fill_opacity(5)
    shown = shown.title(panel.title).unit(panel.unit).description(panel.about).datasource(_SOURCE).span(span)
    shown = shown.id(number)
    if panel.least is not None:
        shown = shown.min(panel.least)
    for nth, (expression, legend_format) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expression).legend_format(legend_format).ref_id(chr(ord("A") + nth))
        shown = shown.with_target(query.instant() if panel.now else query.range())
    return shown
