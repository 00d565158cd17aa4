"""Calibration and decision thresholds, fitted on val: what turns a logit into a probability and a yes or no.

Class weights and label smoothing shift a network's logits, so that their sigmoid is no probability. Platt's slope and
intercept per finding and model (Platt 1999, with his smoothed targets, which keep the fit finite on separable data)
mend that; the thresholds are on the calibrated probability.

models/calibration.json, for whoever turns logits into probabilities:

    {"version": 1,
     "unit": "image" or "study", what was scored when this was fitted
     "findings": keys of the findings, in the order of the logits' last axis
     "models": {"densenet" | "vit" | "average" | "ensemble": {finding:
         {"slope": a, "intercept": b,     probability = 1 / (1 + exp(-(a * logit + b)))
          "fit": "platt"      both fitted
                 "flat"       the model ranked val no better than chance: the least slope, 0.01, and a fitted intercept
                 "intercept"  fewer positives or negatives on val than asked for: slope 1 and a fitted intercept
                 "none"       no label known on val: slope 1, intercept 0
          "positives": n, "negatives": n,  known on val
          "thresholds": {"youden": t, "specificity_90": t}}}}}   null with one class on val

A finding is called present where its calibrated probability is at least the threshold. `youden` maximises sensitivity +
specificity - 1 on val, `specificity_90` sensitivity where specificity is at least 0.9.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, log_expit

from diagxnet.errors import InputError
from diagxnet.evaluation.scored import MODELS, Scored
from diagxnet.files import read_json, write_json
from diagxnet.findings import KEYS

VERSION = 1
LEAST_SLOPE = 0.01
"""A fitted slope at or below zero would turn a model's order round; this keeps it and says next to nothing."""

SPECIFICITY = 0.9
RULES = ("youden", "specificity_90")
NEWTON_STEPS = 100


@dataclass(frozen=True)
class FindingCalibration:
    """One finding of one model; fields as in models/calibration.json."""

    slope: float
    intercept: float
    fit: str
    positives: int
    negatives: int
    thresholds: dict[str, float] | None


Calibration = dict[str, dict[str, FindingCalibration]]
"""Calibrations by model and finding key."""


def fit_calibration(val: Scored, min_positives: int) -> Calibration:
    """Calibration and thresholds of every model and finding on `val`.

    min_positives: so many known positives and negatives a slope needs; with fewer, only an intercept is fitted.
    """
    return {
        model: {
            key: _fit_finding(val.logits[m][val.known(f), f], val.targets[val.known(f), f], min_positives)
            for f, key in enumerate(KEYS)
        }
        for m, model in enumerate(MODELS)
    }


def probabilities(logits: np.ndarray, calibration: dict[str, FindingCalibration]) -> np.ndarray:
    """Calibrated probabilities [..., findings] float64 of one model's `logits` [..., findings], findings as in KEYS."""
    slopes = np.array([calibration[key].slope for key in KEYS])
    intercepts = np.array([calibration[key].intercept for key in KEYS])
    return expit(slopes * logits.astype(np.float64) + intercepts)


def write_calibration(path: Path, calibration: Calibration, unit: str) -> None:
    models = {name: {key: vars(each) for key, each in findings.items()} for name, findings in calibration.items()}
    write_json(path, {"version": VERSION, "unit": unit, "findings": list(KEYS), "models": models})


def read_calibration(path: Path) -> Calibration:
    """The content of models/calibration.json; InputError where it is missing or of another version."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no calibration here (make it with: dvc repro evaluate)") from None
    if content.get("version") != VERSION or tuple(content.get("findings", ())) != KEYS:
        raise InputError(f"{path}: written by another version of this program (run: dvc repro evaluate)")
    return {
        model: {key: FindingCalibration(**each) for key, each in findings.items()}
        for model, findings in content["models"].items()
    }


def platt(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Slope and intercept that maximise the likelihood of Platt's smoothed targets (Platt 1999, section 2.2).

    logits: [units] float. targets: [units] bool. Newton's method with halved steps (Lin, Lin and Weng 2007).
    """
    scale = max(float(np.abs(logits).max()), 1e-12)
    features = np.stack([logits / scale, np.ones(len(logits))], axis=1)
    smoothed = _smoothed(targets)
    weights = np.array([0.0, np.log(smoothed.mean() / (1 - smoothed.mean()))])
    slope, intercept = _newton(features, smoothed, weights)
    return float(slope / scale), float(intercept)


def offset(logits: np.ndarray, targets: np.ndarray, slope: float = 1.0) -> float:
    """The intercept that goes best with a given slope, for the same smoothed targets."""
    smoothed = _smoothed(targets)
    return float(_newton(np.ones((len(logits), 1)), smoothed, np.zeros(1), slope * logits)[0])


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


def _fit_finding(logits: np.ndarray, targets: np.ndarray, min_positives: int) -> FindingCalibration:
    positives, negatives = int(targets.sum()), int((~targets).sum())
    if not len(targets):
        return FindingCalibration(1.0, 0.0, "none", 0, 0, None)
    if min(positives, negatives) < max(min_positives, 1):
        slope, intercept, fit = 1.0, offset(logits, targets), "intercept"
    else:
        slope, intercept = platt(logits, targets)
        fit = "platt"
        if slope <= LEAST_SLOPE:
            slope, intercept, fit = LEAST_SLOPE, offset(logits, targets, LEAST_SLOPE), "flat"
    cuts = thresholds(expit(slope * logits + intercept), targets) if positives and negatives else None
    return FindingCalibration(slope, intercept, fit, positives, negatives, cuts)


def _smoothed(targets: np.ndarray) -> np.ndarray:
    positives = int(targets.sum())
    negatives = len(targets) - positives
    return np.where(targets, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _newton(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray, fixed: np.ndarray | float = 0.0
) -> np.ndarray:
    """Weights [features] of the logistic regression of `targets` in (0, 1) on `features` [units, features]."""

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
