"""Metrics of one model on a split, per finding and as means over findings.

A finding with one class has no key. scikit-learn computes every metric that it has.
"""

from collections.abc import Callable, Collection, Iterable

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from diagxnet.data.chexpert import five_of
from diagxnet.statistics.scored import Scored

BINS = 10
"""Bins of equal width of the expected calibration error and the reliability diagrams (Naeini et al. 2015)."""


def auroc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Area under the receiver operating characteristic; targets: [units] bool, scores: [units]."""
    return float(roc_auc_score(targets, scores))


def auprc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Average precision; a model without skill reaches the prevalence."""
    return float(average_precision_score(targets, scores))


def brier(targets: np.ndarray, probability: np.ndarray) -> float:
    """Mean squared distance of the probability from the truth (Brier 1950)."""
    return float(brier_score_loss(targets, probability))


def ece(targets: np.ndarray, probability: np.ndarray) -> float:
    """Expected calibration error: over bins, |share of positives - mean probability| weighted by the bin's share."""
    bins = reliability(targets, probability)
    return float((bins["count"] * np.abs(bins["observed"] - bins["predicted"])).sum() / len(targets))


def reliability(targets: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
    """Per filled bin: `predicted` mean probability, `observed` share of positives, `count` of units."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    filled = count > 0
    predicted = np.bincount(bins, probability, BINS)[filled] / count[filled]
    observed = np.bincount(bins, targets, BINS)[filled] / count[filled]
    return {"predicted": predicted, "observed": observed, "count": count[filled]}


def means(per_finding: dict[str, float], headline: Collection[str] | None = None) -> dict[str, object]:
    """{"macro", "chexpert5", "per_finding"}: the plain means over the keys in `headline` (None: over all), and over
    those of them that are of the five findings."""
    result: dict[str, object] = {}
    for name, keys in mean_keys(key for key in per_finding if headline is None or key in headline).items():
        result[name] = float(np.mean([per_finding[key] for key in keys]))
    return result | {"per_finding": per_finding}


def mean_keys(keys: Iterable[str]) -> dict[str, list[str]]:
    """Which of `keys` each mean is over; a mean over nothing has no entry."""
    keys = list(keys)
    chosen = {"macro": keys, "chexpert5": five_of(keys)}
    return {name: over for name, over in chosen.items() if over}


def per_finding(
    scored: Scored, values: np.ndarray, metric: Callable[[np.ndarray, np.ndarray], float]
) -> dict[str, float]:
    """`metric` of targets and `values` [units, findings], over the known units of each finding with both classes."""
    return {
        scored.keys[f]: metric(scored.targets[scored.known(f), f], values[scored.known(f), f])
        for f in np.flatnonzero(scored.scorable())
    }


def prevalence(scored: Scored) -> dict[str, float]:
    """Share of positives among the known, of each finding with both classes."""
    return per_finding(scored, scored.targets, lambda targets, _: float(targets.mean()))
