"""How calibration and decision thresholds are fitted on val (`ensemble.calibration` says what they are)."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from scipy.special import expit, log_expit

from diagxnet.data.hierarchy import next_above
from diagxnet.ensemble.calibration import (
    KEPT,
    NOT_LEARNED,
    SPECIFICITY,
    UNCALIBRATED,
    Calibration,
    FindingCalibration,
    probabilities,
)
from diagxnet.statistics.scored import Scored

LEAST_SLOPE = 0.01
"""A fitted slope at or below zero would turn a model's order round; this keeps it and says next to nothing."""

NEWTON_STEPS = 100


def fit_calibration(
    val: Scored, min_positives: int, not_learned: Collection[str] = (), parents: Mapping[str, str] | None = None
) -> Calibration:
    """Calibration and thresholds of every model and finding on `val`.

    min_positives: so many known positives and negatives a slope needs; with fewer, only an intercept is fitted.
    not_learned: keys of the findings without a known label in train. parents: of the findings whose probability is
    bounded by another's, the other, by key.
    """
    fitted = {
        model: {
            key: NOT_LEARNED
            if key in not_learned
            else fit_finding(val.logits[m][own.known(f), f], val.targets[own.known(f), f], min_positives)
            for f, key in enumerate(val.keys)
        }
        for m, (model, own) in enumerate((model, val.of(model)) for model in val.models)
    }
    above = next_above(parents or {}, not_learned)
    bounds = {child: parent for child, parent in above.items() if child not in not_learned}
    return {model: bounded(fitted[model], val.of(model), m, bounds) for m, model in enumerate(val.models)}


def bounded(
    fitted: dict[str, FindingCalibration], scored: Scored, model: int, parents: Mapping[str, str]
) -> dict[str, FindingCalibration]:
    """`fitted`, of the model in that place of `scored`, with the parent of each finding that has one, and thresholds
    for its probability as that bounds it."""
    if not parents:
        return fitted
    own = {key: replace(each, parent=parents.get(key)) for key, each in fitted.items()}
    probability = probabilities(scored.logits[model], own)
    for key in parents:
        if own[key].thresholds and own[key].fit != KEPT:
            f = scored.keys.index(key)
            known = scored.known(f)
            cuts = thresholds(probability[known, f], scored.targets[known, f])
            own[key] = replace(own[key], thresholds=cuts)
    return own


def platt(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Slope and intercept that maximise the likelihood of Platt's smoothed targets (Platt 1999, section 2.2).

    logits: [units] float. targets: [units] bool. Newton's method with halved steps (Lin, Lin and Weng 2007).
    """
    scale = max(float(np.abs(logits).max()), 1e-12)
    features = np.stack([logits / scale, np.ones(len(logits))], axis=1)
    goals = smoothed(targets)
    weights = np.array([0.0, np.log(goals.mean() / (1 - goals.mean()))])
    slope, intercept = logistic(features, goals, weights)
    return float(slope / scale), float(intercept)


def offset(logits: np.ndarray, targets: np.ndarray, slope: float = 1.0) -> float:
    """The intercept that goes best with a given slope, for the same smoothed targets."""
    return float(logistic(np.ones((len(logits), 1)), smoothed(targets), np.zeros(1), slope * logits)[0])


def thresholds(probability: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The threshold of each rule, midway between the two neighbouring probabilities (or 0 or 1) that it separates.

    probability: [units] in [0, 1]. targets: [units] bool, both classes. Among equals `youden` is the higher threshold,
    `specificity_90` the lower: the one whose specificity is nearest to 90%. It is just above 1 where nobody may be
    called positive and a probability is 1.
    """
    from sklearn.metrics import roc_curve  # a second and a half to import, which a prediction does not need

    false_positive, true_positive, cuts = roc_curve(targets, probability, drop_intermediate=False)
    best = 1 + int(np.argmax((true_positive - false_positive)[1:]))  # position 0 calls nobody positive
    specific = int(np.flatnonzero(1 - false_positive >= SPECIFICITY)[-1])
    upper, lower = np.minimum(cuts, np.nextafter(1, 2)), np.append(cuts[1:], 0.0)  # cut 0 is infinite
    middle = (upper + lower) / 2
    between = np.where(middle > lower, middle, upper)  # two neighbouring floats have no middle
    return {"youden": float(between[best]), "specificity_90": float(between[specific])}


def fit_finding(logits: np.ndarray, targets: np.ndarray, min_positives: int) -> FindingCalibration:
    positives, negatives = int(targets.sum()), int((~targets).sum())
    if not len(targets):
        return FindingCalibration(1.0, 0.0, UNCALIBRATED, 0, 0, None)
    if min(positives, negatives) < max(min_positives, 1):
        slope, intercept, fit = 1.0, offset(logits, targets), "intercept"
    else:
        slope, intercept = platt(logits, targets)
        fit = "platt"
        if slope <= LEAST_SLOPE:
            slope, intercept, fit = LEAST_SLOPE, offset(logits, targets, LEAST_SLOPE), "flat"
    cuts = thresholds(expit(slope * logits + intercept), targets) if positives and negatives else None
    return FindingCalibration(slope, intercept, fit, positives, negatives, cuts)


def smoothed(targets: np.ndarray) -> np.ndarray:
    """Platt's targets [units] for `targets` [units] bool: short of 0 and 1, the more so the fewer there are of each."""
    positives = int(targets.sum())
    negatives = len(targets) - positives
    return np.where(targets, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def logistic(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray, fixed: np.ndarray | float = 0.0
) -> np.ndarray:
    """Weights [features] of the logistic regression of `targets` in [0, 1] on `features` [units, features].

    weights: to begin with. fixed: [units], or a number, added to what they give.
    """

    def loss(weights: np.ndarray) -> float:
        linear = features @ weights + fixed
        return -float((targets * log_expit(linear) + (1 - targets) * log_expit(-linear)).sum())

    current = loss(weights)
    for _ in range(NEWTON_STEPS):
        predicted = expit(features @ weights + fixed)
        gradient = features.T @ (predicted - targets)
        curvature = (features * (predicted * (1 - predicted))[:, None]).T @ features
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(weights)), gradient)
        size = 1.0
        while size > 1e-10 and loss(weights - size * step) > current:
            size /= 2
        weights = weights - size * step
        previous, current = current, loss(weights)
        if np.abs(gradient).max() < 1e-10 or previous == current:
            break
    return weights
