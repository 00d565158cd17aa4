"""Time of the bootstrap, and coverage of its intervals by simulation; prints the tables of docs/evaluation.md.

    python -m benchmarks.evaluation time
    python -m benchmarks.evaluation coverage --samples 2000

Coverage: scores of negatives are standard normal, those of positives are shifted so that the AUROC is known (the
binormal case); so many test sets of 234 units are drawn, and in each it is noted whether the 95% interval holds the
true value. The percentile interval, which this project does not use, stands beside ours.
"""

import argparse
import time
from statistics import NormalDist

import numpy as np

from diagxnet.console.cores import cores
from diagxnet.statistics.bootstrap import resample
from diagxnet.statistics.intervals import difference_interval, proportion_interval

UNITS = 234
POSITIVES = (5, 10, 20, 30, 50, 100)
AUROCS = (0.7, 0.8, 0.9, 0.95)
CASES = ((234, 200), (38_000, 13_000))
"""Rows and patients: CheXpert's valid.csv, and a test set of a fifth of its train.csv."""

AT_ONCE = 100
"""Test sets that share their resamples of unit numbers, which saves most of the time and biases no single one."""

CORRELATION = 0.8
"""Between the scores of two models of one data set, in the coverage of their difference."""


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
    shift = NormalDist().inv_cdf(true_auroc) * 2**0.5
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
        ours = [proportion_interval(*pair, size) for pair in zip(points[0][name], values, strict=True)]
        held.append(np.mean((lower <= truth) & (truth <= upper)))
        held.append(np.mean([interval["lower"] <= truth <= interval["upper"] for interval in ours]))
    differences = zip(points[0]["auroc"] - points[1]["auroc"], drawn.auroc[0] - drawn.auroc[1], strict=True)
    intervals = [difference_interval(*pair, size) for pair in differences]
    return np.array([*held, np.mean([interval["lower"] <= 0 <= interval["upper"] for interval in intervals])])


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


if __name__ == "__main__":
    main()
