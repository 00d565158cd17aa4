"""AUROC and average precision of every model and finding in bootstrap resamples of patients, a block at a time.

A resample draws as many patients as there are, with replacement; a row counts as often as its patient was drawn. Rows
are sorted once, not once a resample: with the rows of a ranking in order, both metrics follow from running sums of
those counts (integers, so that ties are exact and the result does not depend on the size of a block).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from diagxnet.console.progress import Progress

BLOCK_BYTES = 4 << 20
"""Memory for one array [rows, resamples of a block], small enough for a processor's cache: larger ones are slower."""


@dataclass(frozen=True)
class Resampled:
    """Metrics in each resample, [models, findings, resamples] float64, NaN where a finding has one class there."""

    auroc: np.ndarray
    auprc: np.ndarray


@dataclass(frozen=True)
class _Ranking:
    """A finding's known rows by falling score, cut at the scores that some positive row has ("steps").

    positives, negatives: row numbers by falling score. starts: [steps] first of `positives` in each step. above,
    through: [steps] how many of `negatives` score above the step, and above or with it.
    """

    positives: np.ndarray
    negatives: np.ndarray
    starts: np.ndarray
    above: np.ndarray
    through: np.ndarray


def draw_counts(patients: int, resamples: int, seed: int, block: int) -> Iterator[np.ndarray]:
    """Counts [patients, at most `block` resamples] int32: how often each patient is in each resample."""
    generator = np.random.default_rng([seed, patients])
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = np.empty((size, patients), np.int32)
        for row in counts:
            row[:] = np.bincount(generator.integers(0, patients, patients), minlength=patients)
        yield np.ascontiguousarray(counts.T)


@dataclass(frozen=True)
class Draws:
    """Resamples of patients, for figures that are ratios of sums over units. codes: [units] whose a unit is. counts:
    [patients, resamples] float64, how often each patient is in each resample."""

    codes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, patients: np.ndarray, *, resamples: int, seed: int) -> "Draws":
        """The resamples that `resample` draws of the same `patients` [units] with the same seed."""
        codes = np.unique(patients, return_inverse=True)[1]
        blocks = draw_counts(int(codes.max()) + 1, resamples, seed, max(1, BLOCK_BYTES // (4 * len(codes))))
        return cls(codes, np.concatenate([*blocks], axis=1).astype(np.float64))

    def by_patient(self, values: np.ndarray, units: np.ndarray) -> np.ndarray:
        """[patients, ...] float64: the sum over each patient of `values` [units of `units`, ...]; units: numbers."""
        shape = len(self.counts), len(units)
        owners = csr_array((np.ones(len(units)), (self.codes[units], np.arange(len(units)))), shape=shape)
        return (owners @ values.reshape(len(units), -1).astype(np.float64)).reshape(len(self.counts), *values.shape[1:])

    def sums(self, by_patient: np.ndarray) -> np.ndarray:
        """[resamples, ...] float64: the sum of `by_patient` [patients, ...] over each resample."""
        summed = self.counts.T @ by_patient.reshape(len(by_patient), -1)
        return summed.reshape(-1, *by_patient.shape[1:])


def resample(
    scores: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray,
    patients: np.ndarray,
    *,
    resamples: int,
    seed: int,
    shown: bool = False,
) -> Resampled:
    """Both metrics in `resamples` resamples of patients, the same resamples for every model and finding.

    scores: [models, rows, findings], higher is more positive. targets, mask: [rows, findings] bool. patients: [rows]
    any labels; rows of a patient are drawn together. Equal seeds give equal resamples of equally many patients.
    shown: whether a bar or line tells how far it is.
    """
    codes = np.unique(patients, return_inverse=True)[1]
    models, _, findings = scores.shape
    rankings = {
        (model, finding): _rank(scores[model, :, finding], targets[:, finding], mask[:, finding])
        for model in range(models)
        for finding in range(findings)
    }
    block_size = max(1, BLOCK_BYTES // (4 * len(codes)))
    blocks = []
    with Progress(resamples, "evaluate", "resamples", shown) as progress:
        for counts in draw_counts(int(codes.max()) + 1, resamples, seed, block_size):
            weights = counts.take(codes, axis=0)  # [rows, resamples of the block]
            block = np.empty((2, models, findings, weights.shape[1]))
            for (model, finding), ranking in rankings.items():
                block[:, model, finding] = _weighted_metrics(ranking, weights)
            blocks.append(block)
            progress.update(weights.shape[1])
    return Resampled(*np.concatenate(blocks, axis=-1))


def _rank(scores: np.ndarray, targets: np.ndarray, mask: np.ndarray) -> _Ranking:
    rows = np.flatnonzero(mask)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    positives, negatives = rows[targets[rows]], rows[~targets[rows]]
    steps, starts = np.unique(-scores[positives], return_index=True)
    falling = -scores[negatives]
    return _Ranking(
        positives,
        negatives,
        starts,
        np.searchsorted(falling, steps, side="left"),
        np.searchsorted(falling, steps, side="right"),
    )


def _weighted_metrics(ranking: _Ranking, weights: np.ndarray) -> np.ndarray:
    """AUROC and average precision [2, resamples] for weights [rows, resamples].

    AUROC is the share of pairs in which the positive scores higher, ties counting half; average precision the sum of
    precision times the rise of recall, over steps, as scikit-learn defines it.
    """
    resamples = weights.shape[1]
    if not len(ranking.positives) or not len(ranking.negatives):
        return np.full((2, resamples), np.nan)
    gained = np.add.reduceat(weights.take(ranking.positives, axis=0), ranking.starts, axis=0)  # [steps, resamples]
    passed = np.zeros((len(ranking.negatives) + 1, resamples), np.int32)
    np.cumsum(weights.take(ranking.negatives, axis=0), axis=0, out=passed[1:])
    above, through, total = passed[ranking.above], passed[ranking.through], passed[-1]
    gained = gained.astype(np.float64)
    reached = np.cumsum(gained, axis=0)
    found = reached[-1]
    doubled_wins = (gained * (2 * total - above - through)).sum(axis=0)
    precision = reached / np.maximum(reached + through, 1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample with one class is NaN, and said to be
        auroc = doubled_wins / (2 * found * total)
        auprc = (gained * precision).sum(axis=0) / found
    auprc[total == 0] = np.nan
    return np.stack([auroc, auprc])
