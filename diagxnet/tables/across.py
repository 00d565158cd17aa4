"""What a stack's scores of the other findings say of a finding, as far as that helps.

The log odds of finding f are z_f + b_f + sum over all findings g of v_fg z_g / spread(z_g), z being the stack's own
calibrated log odds, v_fg ~ N(0, s^2). As in `stacking.weights` no strength s is picked: each of STRENGTHS counts as
exp(-log loss of patients left out / TEMPERATURE), and s = 0, no correction, is among them. So many inputs as findings,
not as findings times models: on the ten models of CheXpert's test set, what single models say of the other findings
loses (docs/members.md).
"""

from dataclasses import dataclass

import numpy as np

from diagxnet.stacking.logistic import Rows, calibrate, losses, sums, with_ones
from diagxnet.stacking.weights import TEMPERATURE

STRENGTHS = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Log odds that one spread of another finding's log odds may add."""

NONE = 1e-4
"""The strength that stands for 0."""

ROUNDS = 8


@dataclass(frozen=True)
class Across:
    """calibration: [findings, 2] slope and intercept that make the stack's scores log odds. weights: [findings,
    findings] v / spread: what a row's finding takes from each column's."""

    calibration: np.ndarray
    weights: np.ndarray

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Log odds [units, findings] of a stack's `scores` [units, findings]."""
        own = scores * self.calibration[:, 0] + self.calibration[:, 1]
        return own + own @ self.weights.T


def fit_across(scores: np.ndarray, rows: Rows) -> Across:
    """scores: [units, findings] of units whose patients' folds the stack did not see; `rows` holds their labels."""
    calibration = calibrate(np.ascontiguousarray(scores[rows.order].T), rows)
    own = (scores * calibration[:, 0] + calibration[:, 1])[rows.order]  # [rows, findings]
    spread = own.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    findings = own.shape[1]
    if findings == 1:
        return Across(calibration, np.zeros((1, 1)))
    others = np.broadcast_to((own - own.mean(0)) / spread, (findings, *own.shape))
    inputs = np.concatenate([own.T[:, :, None], with_ones(others)], axis=2)  # its own, all, and one
    single = inputs.astype(np.float32)
    fitted = np.zeros((findings, findings + 2))
    fitted[:, 0] = 1
    for _ in range(ROUNDS):
        gradient, curvature = sums(inputs, rows, fitted)
        total = gradient.sum(0), curvature.sum(0)
        parts = [_step(total[0] - one, total[1] - two, fitted) for one, two in zip(gradient, curvature, strict=True)]
        each = zip(rows.folds(), parts, strict=True)
        loss = sum(losses(single, rows, fold, part).sum(axis=1, dtype=np.float64) for fold, part in each)
        counts = np.exp((loss.min() - loss) / TEMPERATURE)
        before, fitted = fitted, np.tensordot(counts / counts.sum(), _step(*total, fitted), 1)
        if np.abs(fitted - before).max() < 1e-3:
            break
    return Across(calibration, fitted[:, 1:-1] / spread)


def _step(gradient: np.ndarray, curvature: np.ndarray, start: np.ndarray) -> np.ndarray:
    """For each of STRENGTHS the coefficients [strengths, findings, findings + 2] after a Newton step from `start`; the
    first stays 1, and the last, the intercept, has a prior of spread 1."""
    free, known = slice(1, None), curvature[:, 1:, 1:]
    linear = (gradient[:, free] + np.matmul(known, start[:, free, None])[:, :, 0])[:, :, None]
    found = []
    for strength in STRENGTHS:
        prior = np.full(start.shape[1] - 1, max(strength, NONE) ** -2)
        prior[-1] = 1
        solved = np.linalg.solve(known + np.diag(prior), linear)[:, :, 0]
        found.append(np.concatenate([start[:, :1], solved], axis=1))
    return np.stack(found)
