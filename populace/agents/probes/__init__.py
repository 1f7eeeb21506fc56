"""Instruments: sets of items with their published keys, scores, reliability and response styles. Pure."""

from populace.agents.probes.attitudes import (
    LEFT_RIGHT,
    LIBERAL_CONSERVATIVE,
    NET_PROMOTER,
    TRUST,
    feeling_thermometers,
    likert,
)
from populace.agents.probes.declared import instrument_of, matrix, single_choice
from populace.agents.probes.instrument import (
    Instrument,
    Item,
    MultipleChoice,
    OpenText,
    Question,
    Ranking,
    Scale,
)
from populace.agents.probes.persona import Probe
from populace.agents.probes.published import BFI10, CESD, CESD10, IPIP25, PANAS, SPANE
from populace.agents.probes.reliability import (
    Retest,
    Retests,
    alpha_of_covariance,
    alphas,
    covariance,
    cronbach_alpha,
    intraclass,
    retest,
    retest_scales,
)
from populace.agents.probes.styles import Styles, response_styles
from populace.agents.probes.survey import Survey

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
    "MultipleChoice",
    "OpenText",
    "Probe",
    "Question",
    "Ranking",
    "Retest",
    "Retests",
    "Scale",
    "Styles",
    "Survey",
    "alpha_of_covariance",
    "alphas",
    "covariance",
    "cronbach_alpha",
    "feeling_thermometers",
    "instrument_of",
    "intraclass",
    "likert",
    "matrix",
    "response_styles",
    "retest",
    "retest_scales",
    "single_choice",
]
