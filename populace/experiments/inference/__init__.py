"""Inference for experiments: the replicate is the unit, and arms are paired by replicate. Pure functions of arrays.

scipy and statsmodels do the statistics (the extra `experiments`); they are loaded when they are first used.
"""

from populace.experiments.inference.arrays import one_each, trajectories
from populace.experiments.inference.bands import Band, band
from populace.experiments.inference.bounds import Bounds, lee, worst_case
from populace.experiments.inference.clustered import ClusteredEffect, within_runs
from populace.experiments.inference.effects import Effect, as_rows, compare, effect
from populace.experiments.inference.failures import FailureRate, Failures, failures
from populace.experiments.inference.heterogeneity import GroupEffect, QuantileEffects, by_group, by_quantile
from populace.experiments.inference.intervals import Interval, interval
from populace.experiments.inference.multiplicity import holm
from populace.experiments.inference.power import Needed, needed, power_of, replicates_for
from populace.experiments.inference.randomisation import sign_flip_p
from populace.experiments.inference.sequential import (
    ConfidenceSequence,
    Stopped,
    anytime_p,
    confidence_sequence,
    looks_to_clear,
    stop,
)

__all__ = [
    "Band",
    "Bounds",
    "ClusteredEffect",
    "ConfidenceSequence",
    "Effect",
    "FailureRate",
    "Failures",
    "GroupEffect",
    "Interval",
    "Needed",
    "QuantileEffects",
    "Stopped",
    "anytime_p",
    "as_rows",
    "band",
    "by_group",
    "by_quantile",
    "compare",
    "confidence_sequence",
    "effect",
    "failures",
    "holm",
    "interval",
    "lee",
    "looks_to_clear",
    "needed",
    "one_each",
    "power_of",
    "replicates_for",
    "sign_flip_p",
    "stop",
    "trajectories",
    "within_runs",
    "worst_case",
]
