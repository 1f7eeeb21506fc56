"""Experiments: arms and replicates of a society, and what may be said of their differences."""

from populace.experiments.audits.declared import Audit
from populace.experiments.declared import Arm, Experiment, Outcome
from populace.experiments.factors import doses, factorial
from populace.experiments.randomised import Randomised
from populace.experiments.stopping import Stopping
from populace.experiments.subgroups import Each, Subgroup

__all__ = ["Arm", "Audit", "Each", "Experiment", "Outcome", "Randomised", "Stopping", "Subgroup", "doses", "factorial"]
