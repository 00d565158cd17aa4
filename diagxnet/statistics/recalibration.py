"""How far calibrated probabilities are from the labels of a split, per finding and in the mean.

Logistic regression of the labels on the logit of the probability (Cox 1958; Van Calster et al. 2019). With the slope
held at 1, its intercept is calibration-in-the-large: above 0, positives are more frequent than predicted. With both
free, its slope is below 1 where probabilities are too extreme. A perfectly calibrated model has 0 and 1.
"""

import numpy as np
from scipy.special import expit, logit

from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.calibrating import logistic, smoothed
from diagxnet.statistics.metrics import BINS
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import Estimate

DRAWS = 200
"""Of labels, for the ECE of chance: its error is then a hundredth of the value."""

CERTAIN = 1e-12
"""Nearest to 0 and 1 that a probability counts, so that its logit is finite."""


def recalibration(scored: Scored, probability: np.ndarray, draws: Draws, *, min_positives: int) -> dict[str, Estimate]:
    """`in_the_large` and `slope` of each finding with two patients of either class.

    probability: [units, findings] of one model. draws: of the patients of `scored`. A resample's figure is to first
    order: the estimate and what each drawn patient moves it by (the infinitesimal jackknife; Davison and Hinkley 1997,
    section 2.7), without another fit.
    """
    findings = np.flatnonzero(scored.enough(1))
    fitted = {}
    for f in findings:
        known = scored.known(f)
        values, moved = refit(logit(probability[known, f].clip(CERTAIN, 1 - CERTAIN)), scored.targets[known, f])
        fitted[scored.keys[f]] = values, draws.sums(draws.by_patient(moved.T, known))
    sizes = dict(zip(scored.keys, scored.rarer_patients().tolist(), strict=True))
    headline = tuple(key for key in scored.headline(min_positives) if key in fitted)
    result = {}
    for place, name in enumerate(("in_the_large", "slope")):
        values = {key: float(own[place]) for key, (own, _) in fitted.items()}
        drawn = {key: own[place] + moved[:, place] for key, (own, moved) in fitted.items()}
        result[name] = Estimate(values, drawn, sizes, headline)
    return result


def refit(linear: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept (slope held at 1) and slope of `targets` [units] bool on `linear` [units], and what a unit more moves
    each by, [2, units]. Where one class scores above all of the other no slope is finite: Platt's smoothed targets."""
    ones = np.ones((len(linear), 1))
    intercept = logistic(ones, targets, np.zeros(1), linear)
    predicted = expit(linear + intercept)
    moves_intercept = (targets - predicted) / (predicted * (1 - predicted)).sum()
    centred = linear - linear.mean()
    scale = max(float(np.abs(centred).max()), CERTAIN)
    features = np.append(centred[:, None] / scale, ones, axis=1)
    positive, negative = linear[targets], linear[~targets]
    separated = positive.min() >= negative.max() or negative.min() >= positive.max()
    goals = smoothed(targets) if separated else targets
    weights = logistic(features, goals, np.zeros(2))
    predicted = expit(features @ weights)
    curvature = (features * (predicted * (1 - predicted))[:, None]).T @ features
    moves_slope = (features * (goals - predicted)[:, None]) @ np.linalg.pinv(curvature)[0]
    return np.array([intercept[0], weights[0] / scale]), np.stack([moves_intercept, moves_slope / scale])


def chance_ece(probability: np.ndarray, seed: int) -> float:
    """The expected calibration error that a perfectly calibrated model would have: mean of DRAWS sets of labels, drawn
    with `probability` [units], unit by unit."""
    inside = np.eye(BINS)[np.minimum((probability * BINS).astype(int), BINS - 1)]  # [units, bins]
    generator = np.random.default_rng(seed)
    drawn = [
        np.abs((probability - (generator.random(len(probability)) < probability)) @ inside).sum() for _ in range(DRAWS)
    ]
    return float(np.mean(drawn) / len(probability))
