"""How often groups that are treated alike are said to differ, and how often a planted gap is found, by simulation.

    python -m benchmarks.subgroups --samples 400

Test sets with the positives of real ones (`benchmarks.evaluation`), scored by a calibrated model, with columns that say
nothing: two or four groups of patients, and two of images. A column is flagged where any verdict on it is `higher` or
`lower`. Planted: in one of the two groups of patients the scores of positives are lower, so that the AUROC of each
finding is PLANTED lower.
"""

import argparse

import numpy as np
from scipy.special import expit, logit

from benchmarks.evaluation import MIN_POSITIVES, TEST_SETS
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.ensemble.calibration import FindingCalibration
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.disparity import UNDECIDED
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.subgroups import add_disparities

SHIFT = 1.7
"""Of the scores of positives: an AUROC of 0.885."""

PLANTED_SHIFT = 1.1
"""The same in the group with a planted gap: an AUROC of 0.782."""

PATIENT_SHARE = 0.5
"""Of the variance of a score, and of what makes an image positive, that a patient's images have in common."""

COLUMNS = ("two groups of patients", "four groups of patients", "two groups of images", "planted gap")


def draw(name: str, seed: int) -> tuple[Scored, np.ndarray, dict[str, FindingCalibration]]:
    """A test set as TEST_SETS[name] with a group of each of COLUMNS; its calibrated probabilities [units, findings];
    thresholds at each finding's prevalence."""
    units, patients, positives = TEST_SETS[name]
    generator = np.random.default_rng([units, patients, seed])
    owners = np.sort(np.append(np.arange(patients), generator.integers(0, patients, units - patients)))

    def normal() -> np.ndarray:
        shared = generator.normal(size=(patients, len(CHEXPERT)))[owners]
        return PATIENT_SHARE**0.5 * shared + (1 - PATIENT_SHARE) ** 0.5 * generator.normal(size=(units, len(CHEXPERT)))

    targets = normal().argsort(axis=0).argsort(axis=0) < positives
    halves, quarters = (generator.integers(0, count, patients)[owners] for count in (2, 4))
    of_images = generator.integers(0, 2, units)
    planted = generator.integers(0, 2, patients)[owners]
    noise = normal()
    scores = {False: noise + SHIFT * targets, True: noise + np.where(planted[:, None], PLANTED_SHIFT, SHIFT) * targets}
    share = np.clip(np.array(positives) / units, 1 / units, 1 - 1 / units)
    logits = np.stack([SHIFT * own - SHIFT**2 / 2 + logit(share) for own in scores.values()])
    groups = dict(zip(COLUMNS, (halves, quarters, of_images, planted), strict=True))
    named = {column: np.array([f"group {value}" for value in own], object) for column, own in groups.items()}
    mask = np.ones_like(targets)
    scored = Scored(("null", "planted"), logits, targets, mask, owners, named, np.arange(units), CHEXPERT)
    thresholds = {
        key: FindingCalibration(1.0, 0.0, "platt", 1, 1, {"youden": own})
        for key, own in zip(CHEXPERT.keys, share, strict=True)
    }
    return scored, expit(logits), thresholds


def flagged(name: str, seed: int, resamples: int) -> dict[str, bool]:
    """Whether any verdict of each of COLUMNS calls a group different, in one test set."""
    scored, probability, calibration = draw(name, seed)
    draws = Draws.of(scored.patients, resamples=resamples, seed=seed)
    found = {}
    for column in COLUMNS:
        entries: dict = {column: {group: {} for group in np.unique(scored.groups[column])}}
        own = probability[int(column == "planted gap")]
        add_disparities({"ensemble": entries}, scored, own, calibration, draws, MIN_POSITIVES)
        verdicts = [
            measure["macro"]["verdict"]
            for entry in entries[column].values()
            for measure in entry.get("minus_rest", {}).values()
        ]
        found[column] = any(verdict != UNDECIDED for verdict in verdicts)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subgroups", description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=400, help="test sets drawn of each kind")
    parser.add_argument("--resamples", type=int, default=400, help="resamples of each test set")
    arguments = parser.parse_args()
    print(f"| column | {' | '.join(TEST_SETS)} |\n| --- |{' ---: |' * len(TEST_SETS)}")
    drawn = {
        name: [flagged(name, seed, arguments.resamples) for seed in range(arguments.samples)] for name in TEST_SETS
    }
    for column in COLUMNS:
        shares = (np.mean([each[column] for each in own]) for own in drawn.values())
        print(f"| {column} | {' | '.join(f'{share:.1%}' for share in shares)} |")


if __name__ == "__main__":
    main()
