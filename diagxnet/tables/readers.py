"""Readers beside models: a reader's sensitivity against that of a model at the reader's own specificity.

A reader is one point, a model a curve: the comparison is made where the model is as specific as the reader. The curve
is joined by lines between neighbouring scores, so that among equal scores it is chance who is called (Fawcett 2006).
In every resample of patients the reader has another specificity, and the model's curve is read off there: the interval
of the difference is over both.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from diagxnet.statistics.bootstrap import BLOCK_BYTES, draw_counts
from diagxnet.statistics.comparison import verdict
from diagxnet.statistics.intervals import difference_interval
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import Estimate, with_intervals
from diagxnet.tables.aligned import Reader


def readers_figures(
    scored: Scored, readers: Mapping[str, Reader], headline: Sequence[str], *, resamples: int, seed: int
) -> dict[str, dict]:
    """{reader: {"sensitivity" | "specificity": see `with_intervals`, "units", "at_his_specificity": {model:
    {"sensitivity", "reader_minus_model": the same, the latter with a "verdict" of the macro}}}}.

    headline: keys of the findings that means are over, where the reader read them. A finding of which he read one class
    alone is left out.
    """
    return {name: _figures_of(reader, scored, headline, resamples, seed) for name, reader in readers.items()}


def _figures_of(reader: Reader, scored: Scored, headline: Sequence[str], resamples: int, seed: int) -> dict:
    codes = np.unique(scored.patients, return_inverse=True)[1]
    found = {}
    for f, key in enumerate(scored.keys):
        read = np.flatnonzero(reader.read[:, f])
        seen = scored.targets[read, f], reader.called[read, f], scored.logits[:, read, f]
        if seen[0].any() and not seen[0].all():
            whole = _figures(*seen, np.ones((len(read), 1)))[:, 0]
            drawn = [
                _figures(*seen, counts[codes[read]].astype(np.float64)) for counts in _draws(codes, resamples, seed)
            ]
            sizes = [len(set(codes[read[own]])) for own in (seen[0], ~seen[0])]
            found[key] = whole, np.concatenate(drawn, axis=1), sizes
    means = tuple(key for key in headline if key in found) or tuple(found)
    figures = {
        "units": int(reader.read.any(axis=1).sum()),
        "sensitivity": with_intervals(_estimate(found, 0, means)),
        "specificity": with_intervals(_estimate(found, 1, means)),
    }
    figures["at_his_specificity"] = {}
    for m, model in enumerate(scored.models):
        own = with_intervals(_estimate(found, 2 + m, means))
        difference = with_intervals(_difference(found, 2 + m, means), difference_interval)
        middle = {"difference": difference["macro"], "ci": difference["ci"]["macro"]}
        figures["at_his_specificity"][model] = {
            "sensitivity": own,
            "reader_minus_model": difference | {"verdict": verdict(middle)},
        }
    return figures


def _estimate(found: dict, row: int, means: tuple[str, ...]) -> Estimate:
    """One of `_figures`, by finding; its sample size is the patients whom it counts among."""
    return Estimate(
        {key: float(whole[row]) for key, (whole, _, _) in found.items()},
        {key: drawn[row] for key, (_, drawn, _) in found.items()},
        {key: sizes[row == 1] for key, (_, _, sizes) in found.items()},
        means,
    )


def _difference(found: dict, row: int, means: tuple[str, ...]) -> Estimate:
    """The reader's sensitivity minus a model's; both depend on his specificity, so on the rarer class."""
    return Estimate(
        {key: float(whole[0] - whole[row]) for key, (whole, _, _) in found.items()},
        {key: drawn[0] - drawn[row] for key, (_, drawn, _) in found.items()},
        {key: min(sizes) for key, (_, _, sizes) in found.items()},
        means,
    )


def _draws(codes: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Counts [patients, resamples of a block] of all patients, as `bootstrap.resample` draws them."""
    return draw_counts(int(codes.max()) + 1, resamples, seed, max(1, BLOCK_BYTES // (8 * len(codes))))


def _figures(truth: np.ndarray, called: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The reader's sensitivity and specificity, and each model's sensitivity at it: [2 + models, resamples].

    truth, called: [units] bool. scores: [models, units]. weights: [units, resamples], how often each counts. NaN where
    a resample lacks a class.
    """
    positives, negatives = weights[truth].sum(axis=0), weights[~truth].sum(axis=0)
    false = weights[~truth & called].sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = [weights[truth & called].sum(axis=0) / positives, 1 - false / negatives]
        for own in scores:
            found.append(_true_at(own, truth, weights, false) / positives)
    found = np.stack(found)
    found[:, (positives == 0) | (negatives == 0)] = np.nan
    return found


def _true_at(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray, false: np.ndarray) -> np.ndarray:
    """True positives [resamples] of the highest scores that hold `false` false positives [resamples].

    Where equal scores must be split to hold so many, their positives are called in the same proportion.
    """
    steps = np.unique(-scores, return_inverse=True)[1]
    of_class = []
    for chosen in (truth, ~truth):
        order = np.flatnonzero(chosen)[np.argsort(steps[chosen], kind="stable")]
        passed = np.zeros((len(order) + 1, weights.shape[1]))
        np.cumsum(weights[order], axis=0, out=passed[1:])
        ends = np.searchsorted(steps[order], np.arange(steps.max() + 1), side="right")
        of_class.append(passed[np.append(0, ends)])  # [steps + 1, resamples]: up to and with each step, from none on
    true_positive, false_positive = of_class
    last = (false_positive <= false).sum(axis=0) - 1  # the lowest score that may be called whole
    after = np.minimum(last + 1, len(false_positive) - 1)
    column = np.arange(weights.shape[1])
    below, above = false_positive[last, column], false_positive[after, column]
    share = np.where(above > below, (false - below) / np.where(above > below, above - below, 1), 0)
    start = true_positive[last, column]
    return start + share * (true_positive[after, column] - start)
