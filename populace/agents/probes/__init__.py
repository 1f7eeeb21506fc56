"""Instruments: sets of items with their published keys, scores, reliability and response styles. Pure."""

from populace.agents.probes.attitudes import (
    LEFT_RIGHT,
    LIBERAL_CONSERVATIVE,
    NET_PROMOTER,
    TRUST,
    feeling_thermometers,
    likert,
)
from populace.agents.probes.instrument import Instrument, Item, Scale
from populace.agents.probes.published import BFI10, CESD, CESD10, IPIP25, PANAS, SPANE
from populace.agents.probes.reliability import (
    Retest,
    alpha_of_covariance,
    alphas,
    covariance,
    cronbach_alpha,
    intraclass,
    retest,
)
from populace.agents.probes.styles import Styles, response_styles

__all__ = [
    "BFI10",
    "CESD",
    "CESD10",
    "IPIP25",
    "LEFT_RIGHT",
    "LIBERAL_CONSERVATIVE",
    "NET_PROMOTER",
    "PANAS",
    "SPANE",
    "TRUST",
    "Instrument",
    "Item",
    "Retest",
    "Scale",
    "Styles",
    "alpha_of_covariance",
    "alphas",
    "covariance",
    "cronbach_alpha",
    "feeling_thermometers",
    "intraclass",
    "likert",
    "response_styles",
    "retest",
]
