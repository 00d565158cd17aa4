"""Logistic regressions by finding, a few inputs each, and what they come to without a fold of the patients.

A fit without a fold is one Newton step from the fit to all rows, with the fold's part of gradient and curvature taken
out (Beirami et al., "On Optimal Generalizability in Parametric Learning", NeurIPS 2017): many settings cost one pass.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from diagxnet.data.draws import hash_texts

FOLDS = 10
RIDGE = 1e-6
"""Added to every curvature, so that a finding whose labels are all alike, or unknown, can be solved for."""


@dataclass(frozen=True)
class Rows:
    """Labelled rows, ordered by fold of their patients.

    targets: [findings, rows] float64 in 0..1. mask: [findings, rows] bool. patients: [rows] int64, a number for each.
    bounds: [folds + 1] int64, where each fold begins, and the end. order: [rows] int64, their places as they were
    given."""

    targets: np.ndarray
    mask: np.ndarray
    patients: np.ndarray
    bounds: np.ndarray
    order: np.ndarray

    def folds(self) -> list[slice]:
        return [slice(start, end) for start, end in zip(self.bounds[:-1], self.bounds[1:], strict=True)]

    def given(self, values: np.ndarray) -> np.ndarray:
        """`values` [rows, ...] in the order in which the rows were given."""
        back = np.empty_like(values)
        back[self.order] = values
        return back


def by_patient(targets: np.ndarray, mask: np.ndarray, patients: np.ndarray, number: int = FOLDS) -> Rows:
    """The rows in `number` folds of patients, or as many as there are patients: in the order of a hash, dealt in turn.

    targets, mask: [rows, findings]. patients: [rows] names.
    """
    unique, codes = np.unique(patients.astype(str), return_inverse=True)
    dealt = np.empty(len(unique), np.int64)
    dealt[np.argsort(hash_texts(unique, seed=0, purpose="stacking"), kind="stable")] = np.arange(len(unique)) % number
    folds = dealt[codes]
    order = np.argsort(folds, kind="stable")
    bounds = np.searchsorted(folds[order], np.arange(min(number, len(unique)) + 1))
    labels = np.ascontiguousarray(targets[order].T, np.float64), np.ascontiguousarray(mask[order].T)
    return Rows(*labels, codes[order], bounds, order)


def with_ones(inputs: np.ndarray) -> np.ndarray:
    """Inputs [findings, rows, n] with a column for the intercept behind them."""
    return np.concatenate([inputs, np.ones((*inputs.shape[:2], 1))], axis=2)


def sums(inputs: np.ndarray, rows: Rows, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient [folds, findings, n] and curvature [folds, findings, n, n] of the log likelihood, at `coefficients`.

    inputs: [findings, rows, n]. coefficients: [findings, n].
    """
    probability = expit(np.matmul(inputs, coefficients[:, :, None])[:, :, 0])
    residual = np.where(rows.mask, rows.targets - probability, 0)
    spread = np.where(rows.mask, probability * (1 - probability), 0)
    gradient, curvature = [], []
    for fold in rows.folds():
        own = inputs[:, fold]
        gradient.append(np.matmul(residual[:, None, fold], own)[:, 0])
        curvature.append(np.matmul((own * spread[:, fold, None]).transpose(0, 2, 1), own))
    return np.stack(gradient), np.stack(curvature) + RIDGE / len(gradient) * np.eye(inputs.shape[2])


def losses(inputs: np.ndarray, rows: Rows, fold: slice, coefficients: np.ndarray) -> np.ndarray:
    """Log loss [settings, rows of the fold] in nats, summed over the findings, in float32.

    inputs: [findings, rows, n] float32. coefficients: [settings, findings, n].
    """
    scores = np.matmul(
        inputs[:, fold], coefficients.transpose(1, 2, 0).astype(np.float32)
    )  # [findings, rows, settings]
    targets = rows.targets[:, fold, None].astype(np.float32)
    entries = np.log1p(np.exp(-np.abs(scores))) + np.maximum(scores, 0) - targets * scores
    return np.where(rows.mask[:, fold, None], entries, 0).sum(axis=0).T


def calibrate(scores: np.ndarray, rows: Rows) -> np.ndarray:
    """Slope and intercept [findings, 2] that make `scores` [findings, rows] log odds (Platt 1999); a slope is above 0.

    The spread of the log odds is at least 0.1: scores that rank no better than chance are made small, not turned round.
    """
    known = np.maximum(rows.mask.sum(1), 1)
    mean = np.where(rows.mask, scores, 0).sum(1) / known
    deviation = np.sqrt(np.where(rows.mask, (scores - mean[:, None]) ** 2, 0).sum(1) / known)
    deviation = np.where(deviation > 0, deviation, 1)
    inputs = with_ones(((scores - mean[:, None]) / deviation[:, None])[:, :, None])
    rate = (np.where(rows.mask, rows.targets, 0).sum(1) + 1) / (rows.mask.sum(1) + 2)
    start = np.stack([np.zeros(len(rate)), np.log(rate / (1 - rate))], axis=1)
    fitted = start.copy()
    for _ in range(30):
        gradient, curvature = (part.sum(0) for part in sums(inputs, rows, fitted))
        gradient -= fitted - start  # a prior of spread 1, which keeps the fit finite on separable rows
        curvature += np.eye(2)
        change = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        fitted += change / np.maximum(1, np.abs(change).max(1, keepdims=True) / 2)
        if np.abs(change).max() < 1e-6:
            break
    slope = np.maximum(fitted[:, 0], 0.1) / deviation
    return np.stack([slope, fitted[:, 1] - slope * mean], axis=1)


def sum_by_patient(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """[settings, patients] sums of `values` [settings, rows]."""
    return np.stack([np.bincount(patients, own, minlength=int(patients.max()) + 1) for own in values])


def gain_and_error(saved: np.ndarray) -> tuple[float, float]:
    """The log loss that something saves, and its standard error; saved: [patients], that of each."""
    return float(saved.sum()), float(np.sqrt(((saved - saved.mean()) ** 2).sum()))
