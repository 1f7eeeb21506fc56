"""Cases with hidden facts: `Cases` is the part, `solve` and `attend` the two sides of a consultation in a tick."""

from populace.core.judging import Criterion, cohen_kappa
from populace.env.cases.caseset import CaseSet, Fact
from populace.env.cases.part import Cases
from populace.env.cases.solving import attend, solve

__all__ = ["CaseSet", "Cases", "Criterion", "Fact", "attend", "cohen_kappa", "solve"]
