"""AUROC and average precision of every model on a split, with the resamples that their intervals come from.

A finding with one class in a resample is left out of that finding's resamples; in the resamples of a mean over findings
its value on the whole split stands in, so that every resample's mean is over the same findings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diagxnet.data.findings import KEYS
from diagxnet.statistics.bootstrap import resample
from diagxnet.statistics.intervals import difference_interval, effective_sample_size, proportion_interval
from diagxnet.statistics.metrics import auprc, auroc, mean_keys, means, per_finding
from diagxnet.statistics.scored import Scored

METRICS = {"auroc": auroc, "auprc": auprc}


@dataclass(frozen=True)
class Estimate:
    """One metric of one model, each by finding key. values: on the split. resamples: [resamples]. sample_sizes: the
    patients of the rarer class."""

    values: dict[str, float]
    resamples: dict[str, np.ndarray]
    sample_sizes: dict[str, int]

    def only(self, keys: Sequence[str]) -> "Estimate":
        """The same for some of its findings."""
        chosen = ({key: by_key[key] for key in keys} for by_key in (self.values, self.resamples, self.sample_sizes))
        return Estimate(*chosen)


Estimates = dict[str, dict[str, Estimate]]
"""Estimates by model and metric (auroc, auprc)."""


def estimate(scored: Scored, *, resamples: int, seed: int, shown: bool = False) -> Estimates:
    """Both metrics of every model, over the findings with both classes, and `resamples` of them over patients.

    shown: whether a bar or line tells how far it is.
    """
    sample_sizes = rarer_patients(scored)
    arrays = scored.logits, scored.targets, scored.mask, scored.patients
    drawn = resample(*arrays, resamples=resamples, seed=seed, shown=shown)
    result: Estimates = {}
    for m, model in enumerate(scored.models):
        result[model] = {}
        for name, metric in METRICS.items():
            values = per_finding(scored, scored.logits[m], metric)
            all_resamples = getattr(drawn, name)[m]
            result[model][name] = Estimate(
                values, {key: all_resamples[KEYS.index(key)] for key in values}, sample_sizes
            )
    return result


def rarer_patients(scored: Scored) -> dict[str, int]:
    """By finding key: the patients with a positive unit, or those with a negative one, whichever are fewer."""
    sample_sizes = {}
    for f, key in enumerate(KEYS):
        known = scored.known(f)
        positive = scored.targets[known, f]
        sample_sizes[key] = min(len(set(scored.patients[known][wanted])) for wanted in (positive, ~positive))
    return sample_sizes


def with_intervals(estimate: Estimate) -> dict[str, object]:
    """{"macro", "chexpert5", "per_finding", "ci": the same of {"lower", "upper"}}."""
    result = means(estimate.values)
    intervals: dict[str, object] = {}
    for name, keys in mean_keys(estimate.values).items():
        resamples, sample_size = mean_resamples(estimate, keys), mean_sample_size(estimate, keys)
        intervals[name] = proportion_interval(result[name], resamples, sample_size)
    intervals["per_finding"] = {
        key: proportion_interval(value, estimate.resamples[key], estimate.sample_sizes[key])
        for key, value in estimate.values.items()
    }
    return result | {"ci": intervals}


def mean_resamples(estimate: Estimate, keys: Sequence[str]) -> np.ndarray:
    """[resamples] mean over the findings `keys`."""
    filled = [np.nan_to_num(estimate.resamples[key], nan=estimate.values[key]) for key in keys]
    return np.mean(filled, axis=0)


def mean_sample_size(estimate: Estimate, keys: Sequence[str]) -> float:
    """Sample size to give an interval of the mean over the findings `keys`."""
    variances = [np.var(mean_resamples(estimate, [key])) for key in keys]
    return effective_sample_size(np.array(variances), np.array([estimate.sample_sizes[key] for key in keys]))


def compare(first: Estimate, second: Estimate) -> dict[str, object]:
    """The paired differences first - second, from the same resamples.

    {"macro" | "chexpert5": d, "per_finding": {key: d}}, where d is {"difference", "ci": {"lower", "upper"},
    "share_ahead"}, the last being the share of resamples in which `first` is strictly ahead. Two that are equal in
    every resample of every finding rank alike: they differ by 0 to 0, also where a finding has a single patient.
    """
    alike = max((first.sample_sizes[key] for key in first.values), default=0) >= 2
    alike = alike and all(_equal(first, second, key) for key in first.values)
    result: dict[str, object] = {}
    for name, keys in mean_keys(first.values).items():
        result[name] = _difference(first, second, keys, alike)
    return result | {"per_finding": {key: _difference(first, second, [key], alike) for key in first.values}}


def _equal(first: Estimate, second: Estimate, key: str) -> bool:
    equal = np.array_equal(first.resamples[key], second.resamples[key], equal_nan=True)
    return equal and first.values[key] == second.values[key]


def _difference(first: Estimate, second: Estimate, keys: Sequence[str], alike: bool) -> dict[str, object]:
    value = float(np.mean([first.values[key] - second.values[key] for key in keys]))
    if len(keys) == 1:
        resamples = first.resamples[keys[0]] - second.resamples[keys[0]]
        sample_size = float(first.sample_sizes[keys[0]])
    else:
        resamples = mean_resamples(first, keys) - mean_resamples(second, keys)
        variances = [np.nanvar(first.resamples[key] - second.resamples[key]) for key in keys]
        sample_size = effective_sample_size(np.array(variances), np.array([first.sample_sizes[key] for key in keys]))
    defined = resamples[~np.isnan(resamples)]
    share = float((defined > 0).mean()) if len(defined) else 0.0
    interval = {"lower": 0.0, "upper": 0.0} if alike else difference_interval(value, resamples, sample_size)
    return {"difference": value, "ci": interval, "share_ahead": share}
