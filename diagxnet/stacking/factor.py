"""How much of a network's correction is in the ensemble: a factor that patients whom the network never saw decide."""

from dataclasses import dataclass

import numpy as np

from diagxnet.stacking.logistic import Rows, calibrate, gain_and_error, losses, sum_by_patient, sums, with_ones

FACTORS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ERRORS = 2.0
"""Standard errors by which a factor must be better than 0 to be taken."""


@dataclass(frozen=True)
class Factor:
    """value: of the correction, in 0..1, 0 where it does not help. gain: log loss in nats that the best factor above 0
    saves on patients left out, all labels together; error: its standard error. left_out: [rows], for each the factor
    that the patients of the other folds choose."""

    value: float
    gain: float
    error: float
    left_out: np.ndarray


def fit_factor(core: np.ndarray, correction: np.ndarray, rows: Rows) -> Factor:
    """The factor of `correction` on top of `core`, both logits [images, findings], whose labels `rows` holds.

    For each of FACTORS the sum of both is calibrated by finding on the patients of the other folds, as only its order
    counts, and its log loss taken on those of the fold. Without two patients the factor is 0.
    """
    if len(rows.bounds) < 3:
        return Factor(0.0, 0.0, 0.0, np.zeros(len(core)))
    parts = [np.ascontiguousarray(each[rows.order].T, np.float64) for each in (core, correction)]
    by_patient = sum_by_patient(
        np.stack([_losses(parts[0] + each * parts[1], rows) for each in FACTORS]), rows.patients
    )
    value, gain, error = _choose(by_patient)
    left_out = np.empty(len(core))
    for fold in rows.folds():
        left_out[fold] = _choose(np.delete(by_patient, np.unique(rows.patients[fold]), axis=1))[0]
    return Factor(value, gain, error, rows.given(left_out))


def _losses(scores: np.ndarray, rows: Rows) -> np.ndarray:
    """Log loss [rows] of `scores` [findings, rows], calibrated without the row's fold."""
    inputs = with_ones(scores[:, :, None])
    fitted = calibrate(scores, rows)
    gradient, curvature = sums(inputs, rows, fitted)
    single, found = inputs.astype(np.float32), np.empty(scores.shape[1])
    for place, fold in enumerate(rows.folds()):
        left = gradient.sum(0) - gradient[place], curvature.sum(0) - curvature[place]
        own = fitted + np.linalg.solve(left[1], left[0][:, :, None])[:, :, 0]
        found[fold] = losses(single, rows, fold, own[None])[0]
    return found


def _choose(by_patient: np.ndarray) -> tuple[float, float, float]:
    """The factor, the gain of the best one above 0 and its error, for losses [factors, patients]."""
    best = 1 + int(by_patient[1:].sum(axis=1).argmin())
    gain, error = gain_and_error(by_patient[0] - by_patient[best])
    return FACTORS[best] if gain > ERRORS * error else 0.0, gain, error
