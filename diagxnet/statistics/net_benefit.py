"""Decision curves: what calling a finding present at or above a threshold is worth (Vickers and Elkin 2006,
doi:10.1177/0272989X06295361).

Whoever acts from a probability t on holds that missing a case is (1 - t) / t times as bad as a needless action. In
cases found per unit, the calls are then worth

    net benefit(t) = TP / n - FP / n * t / (1 - t)

Acting on everybody is worth prevalence - (1 - prevalence) * t / (1 - t); on nobody, 0.
"""

from dataclasses import dataclass

import numpy as np

from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.intervals import difference_interval, widened
from diagxnet.statistics.scored import Scored

THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True)
class DecisionCurve:
    """A finding's net benefit at each of THRESHOLDS, all [thresholds] float64: of a model's calls, with the 95%
    interval `lower` to `upper` over patients, and of calling it in everybody."""

    model: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    everybody: np.ndarray

    def useful(self) -> np.ndarray:
        """[thresholds] bool: whether the calls are worth more than calling everybody and than calling nobody."""
        return self.model > np.maximum(self.everybody, 0)


def decision_curves(scored: Scored, probability: np.ndarray, draws: Draws) -> dict[str, DecisionCurve]:
    """The curve of each finding with both classes, by key.

    probability: [units, findings] float64. draws: of the patients of `scored`, for the intervals.
    """
    sizes = scored.rarer_patients()
    curves = {}
    for f in np.flatnonzero(scored.scorable()):
        known = scored.known(f)
        targets = scored.targets[known, f]
        by_patient = draws.by_patient(_counted(probability[known, f], targets), known)
        model, everybody = _net_benefit(by_patient.sum(axis=0))
        resampled, _ = _net_benefit(draws.sums(by_patient))
        pairs = zip(model.tolist(), resampled.T, strict=True)
        ends = [difference_interval(value, widened(own, sizes[f]), sizes[f]) for value, own in pairs]
        lower, upper = (np.array([end[side] for end in ends]) for side in ("lower", "upper"))
        curves[scored.keys[f]] = DecisionCurve(model, lower, upper, everybody)
    return curves


def _counted(probability: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[units, 4, thresholds] bool: whether each is a true or a false positive, a positive, a negative."""
    classes = np.stack([targets, ~targets], axis=1)[:, :, None]  # [units, 2, 1]
    called = (probability[:, None] >= THRESHOLDS)[:, None]  # [units, 1, thresholds]
    return np.concatenate([classes & called, np.broadcast_to(classes, (len(targets), 2, len(THRESHOLDS)))], axis=1)


def _net_benefit(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the model's calls and of everybody's, from sums [..., 4, thresholds] of `_counted`."""
    true, false, positives, negatives = np.moveaxis(sums, -2, 0)
    known, odds = positives + negatives, THRESHOLDS / (1 - THRESHOLDS)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample without a known label is left out
        return (true - false * odds) / known, (positives - negatives * odds) / known
