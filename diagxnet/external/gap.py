"""What is lost from one test set to another: the ensemble's own hospital and a foreign one.

The two hold different patients, so that each is resampled by itself (Efron and Tibshirani 1993, section 8.3) and the
difference of the resamples has the spread of both. Only findings that can be scored in both are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diagxnet.ensemble.calibration import Calibration, probabilities
from diagxnet.statistics.bootstrap import BLOCK_BYTES, draw_counts
from diagxnet.statistics.metrics import BINS, brier, ece, mean_keys, per_finding
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import Estimate, Estimates, estimate, separate_difference


def excess(targets: np.ndarray, probability: np.ndarray) -> float:
    """Mean probability minus the share of positives ("calibration in the large"): above 0, too many are expected."""
    return float(probability.mean() - targets.mean())


CALIBRATION_METRICS = {"brier": brier, "ece": ece, "excess": excess}


@dataclass(frozen=True)
class Hospital:
    """One hospital's test set: what was scored, and AUROC and average precision with their resamples."""

    scored: Scored
    estimates: Estimates


def gap(
    own: Scored, foreign: Hospital, calibration: Calibration, *, resamples: int, seed: int, min_positives: int
) -> dict:
    """The foreign set's figures minus the own set's, by model and metric, with 95% intervals.

    own: the test split of the data that the ensemble was trained on, scored by the same models. calibration: of the
    models, for `brier`, `ece` and `excess`. resamples: as many as `foreign.estimates` hold. seed: another than theirs,
    since equal seeds give two sets of equally many patients the same draws. min_positives: means are over the findings
    with `enough` in both; where there is none, over those with two patients of either class; where there is none of
    these, too, over all.

    {"findings": how many are compared, "findings_in_means", model: {"auroc" | "auprc" | "brier" | "ece" | "excess":
    {"macro" | "chexpert5": e, "per_finding": {key: e}}}}, where e is {"own", "foreign", "difference", "ci": {"lower",
    "upper"}}.
    """
    both = own.scorable() & foreign.scored.scorable()
    keys = [own.keys[f] for f in np.flatnonzero(both)]
    result: dict = {"findings": len(keys)}
    if not keys:
        return result
    enough = (own.enough(least) & foreign.scored.enough(least) for least in (min_positives, 1))
    headline = [own.keys[f] for f in np.flatnonzero(next(filter(np.any, enough), both))]
    result["findings_in_means"] = len(headline)
    estimates = estimate(own, resamples=resamples, seed=seed)
    for m, model in enumerate(own.models):
        said = [key for key in keys if key not in own.lacks.get(model, ())]
        pairs = {name: (estimates[model][name], foreign.estimates[model][name]) for name in ("auroc", "auprc")}
        here, there = (
            calibration_estimates(
                each, probabilities(each.logits[m], calibration[model]), resamples=resamples, seed=each_seed
            )
            for each, each_seed in ((own, seed), (foreign.scored, seed + 1))
        )
        pairs |= {name: (here[name], there[name]) for name in CALIBRATION_METRICS}
        means = mean_keys([key for key in headline if key in said] or said)
        result[model] = {
            name: {mean: _entry(*pair, over) for mean, over in means.items()}
            | {"per_finding": {key: _entry(*pair, [key]) for key in said}}
            for name, pair in pairs.items()
        }
    return result


def calibration_estimates(scored: Scored, probability: np.ndarray, *, resamples: int, seed: int) -> dict[str, Estimate]:
    """Brier score, expected calibration error and excess of each scorable finding, in resamples of patients.

    probability: [units, findings] of one model. A resample in which no unit is known has the whole set's value.
    """
    codes = np.unique(scored.patients, return_inverse=True)[1]
    findings = np.flatnonzero(scored.scorable())
    values = {name: per_finding(scored, probability, metric) for name, metric in CALIBRATION_METRICS.items()}
    sample_sizes = {scored.keys[f]: len(np.unique(codes[scored.known(f)])) for f in findings}
    blocks: dict[str, list[np.ndarray]] = {scored.keys[f]: [] for f in findings}
    for counts in draw_counts(int(codes.max()) + 1, resamples, seed, max(1, BLOCK_BYTES // (8 * len(codes)))):
        weights = counts.take(codes, axis=0).astype(np.float64)  # [units, resamples of the block]
        for f in findings:
            known = scored.known(f)
            block = _weighted(scored.targets[known, f], probability[known, f], weights[known])
            blocks[scored.keys[f]].append(block)
    whole = {key: np.concatenate(parts, axis=1) for key, parts in blocks.items()}  # [metrics, resamples] each
    return {
        name: Estimate(values[name], {key: drawn[position] for key, drawn in whole.items()}, sample_sizes)
        for position, name in enumerate(CALIBRATION_METRICS)
    }


def _weighted(targets: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The CALIBRATION_METRICS of units that count `weights` [units, resamples] times: [metrics, resamples]."""
    errors = probability - targets
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    by_bin = np.stack([errors[bins == b] @ weights[bins == b] for b in range(BINS)])
    sums = np.stack([errors**2 @ weights, np.abs(by_bin).sum(axis=0), by_bin.sum(axis=0)])
    with np.errstate(invalid="ignore"):
        return sums / weights.sum(axis=0)


def _entry(own: Estimate, foreign: Estimate, keys: Sequence[str]) -> dict[str, object]:
    means = [float(np.mean([each.values[key] for key in keys])) for each in (own, foreign)]
    return {"own": means[0], "foreign": means[1]} | separate_difference(foreign, own, keys)
