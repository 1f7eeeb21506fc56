"""Scaling studies: one society at several sizes and numbers of shards, what it costs, and what more would cost."""

from populace.experiments.scaling.cells import Cell, cells_of
from populace.experiments.scaling.fits import Fit, Projection, fit_line, project
from populace.experiments.scaling.measures import Measured, measured
from populace.experiments.scaling.report import Assumed, report, write_report
from populace.experiments.scaling.study import Study, read_study, scale

__all__ = [
    "Assumed",
    "Cell",
    "Fit",
    "Measured",
    "Projection",
    "Study",
    "cells_of",
    "fit_line",
    "measured",
    "project",
    "read_study",
    "report",
    "scale",
    "write_report",
]
