"""Simulated answers against human ones: how near, for whom, against which baselines, and worth how many people."""

from populace.experiments.score.baselines import marginal, regression
from populace.experiments.score.card import Against, ItemScore, ScoreCard, score
from populace.experiments.score.effects import EffectsScore, contrast, score_effects, split_half
from populace.experiments.score.measures import (
    Calibration,
    accuracy,
    calibration,
    correlation,
    error,
    over_retest,
    overlap,
    stereotyping,
    variance_ratio,
    wasserstein,
    worst_group,
)
from populace.experiments.score.targets import Target, human_effects
from populace.experiments.score.worth import Worth, worth

__all__ = [
    "Against",
    "Calibration",
    "EffectsScore",
    "ItemScore",
    "ScoreCard",
    "Target",
    "Worth",
    "accuracy",
    "calibration",
    "contrast",
    "correlation",
    "error",
    "human_effects",
    "marginal",
    "over_retest",
    "overlap",
    "regression",
    "score",
    "score_effects",
    "split_half",
    "stereotyping",
    "variance_ratio",
    "wasserstein",
    "worst_group",
    "worth",
]
