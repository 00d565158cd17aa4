"""Time of the bootstrap, and coverage of its intervals by simulation; prints the tables of docs/evaluation.md.

    python -m benchmarks.evaluation time
    python -m benchmarks.evaluation coverage --samples 2000

Coverage: scores of negatives are standard normal, those of positives are shifted so that the AUROC is known (the
binormal case); so many test sets are drawn, and in each it is noted whether the 95% interval holds the true value. The
first table is of one finding among 234 units, and has the percentile interval, which this project does not use, beside
ours. The second is of whole test sets with the positives of real ones: the means over findings that a report opens
with, single findings by how many are positive, and how often two equally good models are said to differ.
"""

import argparse
import time
from collections.abc import Iterator
from functools import cache
from statistics import NormalDist

import numpy as np

from diagxnet.console.cores import cores
from diagxnet.data.chexpert import CHEXPERT, CHEXPERT5
from diagxnet.statistics.bootstrap import Resampled, resample
from diagxnet.statistics.comparison import verdict
from diagxnet.statistics.intervals import difference_interval, proportion_interval, widened
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import Estimate, compare, with_intervals

UNITS = 234
POSITIVES = (5, 10, 20, 30, 50, 100)
AUROCS = (0.7, 0.8, 0.9, 0.95)
SHIFTS = {value: NormalDist().inv_cdf(value) * 2**0.5 for value in AUROCS}
"""Of the scores of positives, by the AUROC that it makes."""

CASES = ((234, 200), (38_000, 13_000))
"""Rows and patients: CheXpert's valid.csv, and a test set of a fifth of its train.csv."""

AT_ONCE = 100
"""Test sets that share their resamples of unit numbers, which saves most of the time and biases no single one."""

CORRELATION = 0.8
"""Between the scores of two models of one data set, in the coverage of their difference."""

TEST_SETS = {
    "CheXpert valid": (234, 200, (38, 109, 68, 126, 1, 45, 33, 8, 80, 8, 67, 1, 0, 107)),
    "CheXpert test": (500, 500, (62, 253, 151, 264, 8, 78, 29, 11, 153, 9, 104, 4, 5, 261)),
    "NIH": (235, 156, (121, 5, 5, 114, 11, 24, 6, 114, 24, 6, 18, 5, 0, 0)),
}
"""Units, patients and positives of each finding, in the order of CHEXPERT.keys, of test sets as they are: Irvin et al.
2019; Rajpurkar et al. 2021 (CheXternal); a sample of ChestX-ray14 (Wang et al. 2017)."""

MIN_POSITIVES = 10
PATIENT_SHARE = 0.5
"""Of the variance of a score, and of what makes a unit positive, that a patient's units have in common."""

RARITY = ((1, 9), (10, 49), (50, None))
"""Positives from which to which the rows of single findings are."""


def measure_time() -> None:
    print("1,000 resamples of 4 models x 14 findings on a machine of", cores(), "cores:\n")
    print("| rows | patients | seconds | seconds of a core |\n| ---: | ---: | ---: | ---: |")
    generator = np.random.default_rng(0)
    for rows, patients in CASES:
        targets = generator.random((rows, 14)) < np.linspace(0.01, 0.5, 14)
        scores = generator.normal(size=(4, rows, 14)) + targets
        owners = generator.integers(0, patients, rows)
        started, busy = time.perf_counter(), time.process_time()
        resample(scores, targets, np.ones_like(targets), owners, resamples=1000, seed=0)
        seconds, of_a_core = time.perf_counter() - started, time.process_time() - busy
        print(f"| {rows:,} | {patients:,} | {seconds:.1f} | {of_a_core:.1f} |", flush=True)


def measure_coverage(samples: int, resamples: int) -> None:
    print(
        "| positives of 234 | true AUROC | AUROC: percentile | AUROC: ours | AUPRC: percentile | AUPRC: ours | "
        "difference of two: ours |\n" + "| ---: " * 7 + "|"
    )
    for positives in POSITIVES:
        for true_auroc in AUROCS:
            shares = np.mean(
                [covered(positives, true_auroc, resamples, seed) for seed in range(samples // AT_ONCE)], axis=0
            )
            print(f"| {positives} | {true_auroc} |" + "".join(f" {share:.1%} |" for share in shares), flush=True)


def covered(positives: int, true_auroc: float, resamples: int, seed: int) -> np.ndarray:
    """Shares of AT_ONCE test sets whose interval holds the truth: the columns of the coverage table."""
    generator = np.random.default_rng([positives, round(100 * true_auroc), seed])
    shift = SHIFTS[true_auroc]
    targets = np.zeros((UNITS, AT_ONCE), bool)
    targets[:positives] = True
    common = generator.normal(size=(UNITS, AT_ONCE))
    own = generator.normal(size=(2, UNITS, AT_ONCE))
    scores = CORRELATION**0.5 * common + (1 - CORRELATION) ** 0.5 * own + shift * targets
    drawn = resample(scores, targets, np.ones_like(targets), np.arange(UNITS), resamples=resamples, seed=seed)
    size = min(positives, UNITS - positives)
    truths = {"auroc": true_auroc, "auprc": average_precision(shift, positives / UNITS)}
    points = [measured(own, targets) for own in scores]
    held = []
    for name in ("auroc", "auprc"):
        values, truth = getattr(drawn, name)[0], truths[name]
        lower, upper = np.nanquantile(values, [0.025, 0.975], axis=1)
        pairs = zip(points[0][name], values, strict=True)
        ours = [proportion_interval(value, widened(each, size), size) for value, each in pairs]
        held.append(np.mean((lower <= truth) & (truth <= upper)))
        held.append(np.mean([interval["lower"] <= truth <= interval["upper"] for interval in ours]))
    differences = zip(points[0]["auroc"] - points[1]["auroc"], drawn.auroc[0] - drawn.auroc[1], strict=True)
    intervals = [difference_interval(value, widened(each, size), size) for value, each in differences]
    return np.array([*held, np.mean([interval["lower"] <= 0 <= interval["upper"] for interval in intervals])])


def measure_test_sets(samples: int, resamples: int) -> None:
    shares: dict[str, dict[str, float]] = {}
    for name in TEST_SETS:
        held: dict[str, list[bool]] = {}
        for seed in range(samples // AT_ONCE):
            for figure, result in judged(name, resamples, seed):
                held.setdefault(figure, []).append(result)
        for figure, results in held.items():
            shares.setdefault(figure, {})[name] = float(np.mean(results))
    print(f"\n| figure | {' | '.join(TEST_SETS)} |\n| --- |{' ---: |' * len(TEST_SETS)}")
    for figure, own in shares.items():
        cells = (f"{own[name]:.1%}" if name in own else "none" for name in TEST_SETS)
        print(f"| {figure} | {' | '.join(cells)} |")


def judged(name: str, resamples: int, seed: int) -> Iterator[tuple[str, bool]]:
    """Draws AT_ONCE test sets of TEST_SETS[name] and gives for each (figure, whether its interval holds the truth, or
    whether a verdict is false)."""
    units, patients, positives = TEST_SETS[name]
    generator = np.random.default_rng([units, patients, seed])
    owners = np.sort(np.append(np.arange(patients), generator.integers(0, patients, units - patients)))
    columns = AT_ONCE * len(CHEXPERT)

    def normal(*shape: int) -> np.ndarray:
        """[*shape, units, columns], standard normal, alike within a patient."""
        shared = generator.normal(size=(*shape, patients, columns))[..., owners, :]
        return PATIENT_SHARE**0.5 * shared + (1 - PATIENT_SHARE) ** 0.5 * generator.normal(
            size=(*shape, units, columns)
        )

    numbers = np.tile(positives, AT_ONCE)  # finding by finding, test set by test set
    ranks = normal().argsort(axis=0).argsort(axis=0)
    targets = ranks < numbers
    true_auroc = np.array(AUROCS)[np.add.outer(np.arange(AT_ONCE), np.arange(len(CHEXPERT))).ravel() % len(AUROCS)]
    shifts = np.array([SHIFTS[value] for value in true_auroc])
    scores = CORRELATION**0.5 * normal() + (1 - CORRELATION) ** 0.5 * normal(2) + shifts * targets
    drawn = resample(scores, targets, np.ones_like(targets), owners, resamples=resamples, seed=seed)
    with np.errstate(invalid="ignore"):  # a finding without positives, which no mean is over
        points = [measured(own, targets) for own in scores]
    precision = [average_precision(shift, n / units) if n else np.nan for shift, n in zip(shifts, numbers, strict=True)]
    truths = {"auroc": true_auroc, "auprc": np.array(precision)}
    for number in range(AT_ONCE):
        own = slice(number * len(CHEXPERT), (number + 1) * len(CHEXPERT))
        one = Scored(
            ("first", "second"),
            scores[:, :, own],
            targets[:, own],
            np.ones_like(targets[:, own]),
            owners,
            {},
            owners,
            CHEXPERT,
        )
        estimates = [_estimates(one, points[m], drawn, m, own) for m in (0, 1)]
        yield from _judged(estimates, {metric: values[own] for metric, values in truths.items()}, positives)


def _estimates(
    one: Scored, points: dict[str, np.ndarray], drawn: Resampled, model: int, own: slice
) -> dict[str, Estimate]:
    """By metric, of a model (its place) and of the test set `one`, whose columns are `own`."""
    keys = [CHEXPERT.keys[f] for f in np.flatnonzero(one.scorable())]
    sizes = dict(zip(CHEXPERT.keys, one.rarer_patients().tolist(), strict=True))
    result = {}
    for metric, values in points.items():
        by_key = dict(zip(CHEXPERT.keys, values[own].tolist(), strict=True))
        resamples = dict(zip(CHEXPERT.keys, getattr(drawn, metric)[model, own], strict=True))
        kept = ({key: each[key] for key in keys} for each in (by_key, resamples))
        result[metric] = Estimate(*kept, sizes, one.headline(MIN_POSITIVES))
    return result


def _judged(
    estimates: list[dict[str, Estimate]], truths: dict[str, np.ndarray], positives: tuple[int, ...]
) -> Iterator[tuple[str, bool]]:
    headline = estimates[0]["auroc"].headline
    means = {"mean": headline, "five findings": [key for key in headline if key in CHEXPERT5]}
    for metric, called in (("auroc", "AUROC"), ("auprc", "AUPRC")):
        truth = dict(zip(CHEXPERT.keys, truths[metric].tolist(), strict=True))
        intervals = with_intervals(estimates[0][metric])["ci"]
        differences = compare(estimates[0][metric], estimates[1][metric])
        for (words, keys), mean in zip(means.items(), ("macro", "chexpert5"), strict=True):
            yield f"{called}, {words}", _holds(intervals[mean], np.mean([truth[key] for key in keys]))
            yield f"{called}, {words}: difference of two", _holds(differences[mean]["ci"], 0.0)
        for first, last in RARITY:
            words = f"{first} to {last} positives" if last else f"{first} positives and more"
            for key, n in zip(CHEXPERT.keys, positives, strict=True):
                if key in truth and first <= n <= (last or n):
                    yield f"{called}, one finding, {words}", _holds(intervals["per_finding"][key], truth[key])
                    held = _holds(differences["per_finding"][key]["ci"], 0.0)
                    yield f"{called}, one finding, {words}: difference of two", held
        yield f"{called}, mean: false verdict", verdict(differences["macro"]) != "not distinguishable"
        verdicts = (entry.get("verdict") for entry in differences["per_finding"].values())
        yield f"{called}, any finding: false verdict", bool({"better", "worse"} & {*verdicts})


def _holds(interval: dict[str, float], truth: float) -> bool:
    return interval["lower"] <= truth <= interval["upper"]


def measured(scores: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """AUROC and average precision of each test set [test sets], for scores without ties [units, test sets]."""
    found = np.take_along_axis(targets, np.argsort(-scores, axis=0), axis=0)
    reached = np.cumsum(found, axis=0)
    passed = np.cumsum(~found, axis=0)
    wins = (found * (passed[-1] - passed)).sum(axis=0)
    precision = reached / np.arange(1, len(found) + 1)[:, None]
    return {
        "auroc": wins / (reached[-1] * passed[-1]),
        "auprc": (found * precision).sum(axis=0) / reached[-1],
    }


@cache
def average_precision(shift: float, prevalence: float, steps: int = 20_000) -> float:
    """The true average precision of the binormal case, by its integral over recall."""
    normal = NormalDist()
    recalls = (np.arange(steps) + 0.5) / steps
    false_positive = np.array([1 - normal.cdf(shift - normal.inv_cdf(recall)) for recall in recalls])
    return float(np.mean(prevalence * recalls / (prevalence * recalls + (1 - prevalence) * false_positive)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("time", "coverage"))
    parser.add_argument("--samples", type=int, default=1000, help="test sets drawn in each row of the coverage table")
    parser.add_argument("--resamples", type=int, default=400, help="resamples of each test set")
    arguments = parser.parse_args()
    if arguments.what == "time":
        measure_time()
    else:
        measure_coverage(arguments.samples, arguments.resamples)
        measure_test_sets(arguments.samples, arguments.resamples)


if __name__ == "__main__":
    main()
