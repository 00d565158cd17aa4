"""AUROC and average precision of every model on a split, with the resamples that their intervals come from.

A finding with one class in a resample is left out of that finding's resamples; in the resamples of a mean over findings
its value on the whole split stands in, so that every resample's mean is over the same findings. Means are over the
findings of `Scored.headline` alone: one with a single positive patient hardly varies between resamples, and would make
the interval of a mean far too short.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diagxnet.statistics.bootstrap import resample
from diagxnet.statistics.intervals import (
    CONFIDENCE,
    difference_interval,
    effective_sample_size,
    holm,
    p_value,
    proportion_interval,
    widened,
)
from diagxnet.statistics.metrics import auprc, auroc, mean_keys, means, per_finding
from diagxnet.statistics.scored import Scored

METRICS = {"auroc": auroc, "auprc": auprc}

ROUNDING = 1e-12
"""Of an AUROC or AUPRC: two that differ by no more are equal."""


@dataclass(frozen=True)
class Estimate:
    """One metric of one model, each by finding key. values: on the split. resamples: [resamples]. sample_sizes: the
    patients of the rarer class. headline: the keys that means are over."""

    values: dict[str, float]
    resamples: dict[str, np.ndarray]
    sample_sizes: dict[str, int]
    headline: tuple[str, ...] = ()

    def only(self, keys: Sequence[str], headline: Sequence[str] = ()) -> "Estimate":
        """The same for some of its findings; means are over `headline`, by default over all of them."""
        chosen = ({key: by_key[key] for key in keys} for by_key in (self.values, self.resamples, self.sample_sizes))
        return Estimate(*chosen, tuple(headline or keys))

    def widened(self, key: str) -> np.ndarray:
        """[resamples] of a finding as an interval wants them."""
        return widened(self.resamples[key], self.sample_sizes[key])


Estimates = dict[str, dict[str, Estimate]]
"""Estimates by model and metric (auroc, auprc)."""


def estimate(scored: Scored, *, resamples: int, seed: int, min_positives: int = 1, shown: bool = False) -> Estimates:
    """Both metrics of every model, over the findings with both classes, and `resamples` of them over patients.

    min_positives: see `Scored.headline`. shown: whether a bar or line tells how far it is.
    """
    sample_sizes = dict(zip(scored.keys, scored.rarer_patients().tolist(), strict=True))
    arrays = scored.logits, scored.targets, scored.mask, scored.patients
    drawn = resample(*arrays, resamples=resamples, seed=seed, shown=shown)
    result: Estimates = {}
    for m, model in enumerate(scored.models):
        result[model] = {}
        own = scored.of(model)
        headline = own.headline(min_positives)
        for name, metric in METRICS.items():
            values = per_finding(own, scored.logits[m], metric)
            by_key = {key: getattr(drawn, name)[m, scored.keys.index(key)] for key in values}
            result[model][name] = Estimate(values, by_key, sample_sizes, headline)
    return result


Interval = Callable[[float, np.ndarray, float], dict[str, float]]
"""Of a value, its widened resamples and its sample size."""


def with_intervals(estimate: Estimate, interval: Interval = proportion_interval) -> dict[str, object]:
    """{"macro", "chexpert5", "per_finding", "ci": the same of {"lower", "upper"}}."""
    result = means(estimate.values, estimate.headline)
    intervals: dict[str, object] = {}
    for name, keys in mean_keys(estimate.headline).items():
        resamples, sample_size = mean_resamples(estimate, keys), mean_sample_size(estimate, keys)
        intervals[name] = interval(result[name], resamples, sample_size)
    intervals["per_finding"] = {
        key: interval(value, estimate.widened(key), estimate.sample_sizes[key])
        for key, value in estimate.values.items()
    }
    return result | {"ci": intervals}


def mean_resamples(estimate: Estimate, keys: Sequence[str]) -> np.ndarray:
    """[resamples] mean over the findings `keys`, each of them `widened` for its own patients."""
    return np.mean([np.nan_to_num(estimate.widened(key), nan=estimate.values[key]) for key in keys], axis=0)


def mean_sample_size(estimate: Estimate, keys: Sequence[str]) -> float:
    """Sample size to give an interval of the mean over the findings `keys`."""
    variances = [np.var(mean_resamples(estimate, [key])) for key in keys]
    return effective_sample_size(np.array(variances), np.array([estimate.sample_sizes[key] for key in keys]))


def compare(first: Estimate, second: Estimate) -> dict[str, object]:
    """The paired differences first - second, from the same resamples, over the findings of both.

    {"macro" | "chexpert5": d, "per_finding": {key: d}}, where d is {"difference", "ci": {"lower", "upper"},
    "share_ahead"}, the last being the share of resamples in which `first` is strictly ahead. A finding of the headline
    has a "verdict" besides: `better`, `worse` or `not distinguishable`, by Holm for all of them at once. Two that are
    equal in every resample of every finding rank alike: they differ by 0 to 0, also where a finding has a single
    patient.
    """
    if any(key not in second.values for key in first.values):
        both = [key for key in first.values if key in second.values]
        first = first.only(both, [key for key in both if key in first.headline and key in second.headline])
    alike = max((first.sample_sizes[key] for key in first.values), default=0) >= 2
    alike = alike and all(_equal(first, second, key) for key in first.values)
    difference = Estimate(
        {key: float(_minus(value, second.values[key])) for key, value in first.values.items()},
        {key: _minus(drawn, second.resamples[key]) for key, drawn in first.resamples.items()},
        first.sample_sizes,
    )
    result = {name: _difference(difference, keys, alike) for name, keys in mean_keys(first.headline).items()}
    per_finding = {key: _difference(difference, [key], alike) for key in first.values}
    for key, word in _verdicts(difference, first.headline).items():
        per_finding[key]["verdict"] = word
    return result | {"per_finding": per_finding}


def _minus(first: np.ndarray | float, second: np.ndarray | float) -> np.ndarray:
    """Where two figures differ by ROUNDING at the most, exactly 0: they would be ahead or behind by nothing."""
    difference = np.asarray(first - second)
    return np.where(np.abs(difference) <= ROUNDING, 0.0, difference)


def separate_difference(
    first: Estimate, second: Estimate, keys: Sequence[str], interval: Interval = difference_interval
) -> dict[str, object]:
    """The mean over the findings `keys` of two sets of units, first - second: {"difference", "ci"}.

    Each set has its own sample size. resamples: those of two sets of patients that are drawn
    apart, or of one in which both are.
    """
    value = float(np.mean([first.values[key] - second.values[key] for key in keys]))
    drawn = [mean_resamples(each, keys) for each in (first, second)]
    sizes = np.array([max(1.0, mean_sample_size(each, keys)) for each in (first, second)])
    size = effective_sample_size(np.array([each.var() for each in drawn]), sizes)
    return {"difference": value, "ci": interval(value, drawn[0] - drawn[1], size)}


def _verdicts(difference: Estimate, keys: Sequence[str]) -> dict[str, str]:
    values, sizes = difference.values, difference.sample_sizes
    p_values = [p_value(values[key], difference.widened(key), sizes[key]) for key in keys]
    found = holm(np.array(p_values)) <= 1 - CONFIDENCE
    words = {key: "better" if values[key] > 0 else "worse" for key in keys}
    return {key: words[key] if sure else "not distinguishable" for key, sure in zip(keys, found, strict=True)}


def _equal(first: Estimate, second: Estimate, key: str) -> bool:
    pairs = ((first.resamples[key], second.resamples[key]), (first.values[key], second.values[key]))
    return all(np.allclose(*pair, rtol=0, atol=ROUNDING, equal_nan=True) for pair in pairs)


def _difference(difference: Estimate, keys: Sequence[str], alike: bool) -> dict[str, object]:
    value = float(np.mean([difference.values[key] for key in keys]))
    resamples = mean_resamples(difference, keys) if len(keys) > 1 else difference.widened(keys[0])
    interval = difference_interval(value, resamples, mean_sample_size(difference, keys))
    drawn = np.mean([difference.resamples[key] for key in keys], axis=0)
    defined = drawn[~np.isnan(drawn)]
    share = float((defined > 0).mean()) if len(defined) else 0.0
    return {"difference": value, "ci": {"lower": 0.0, "upper": 0.0} if alike else interval, "share_ahead": share}
