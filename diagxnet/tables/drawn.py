"""Draws a reader study whose truth is known: labels, models and readers of a given skill, as tables.

    python -m diagxnet.tables.drawn FOLDER

writes FOLDER/groundtruth.csv, FOLDER/models/*.csv and FOLDER/readers/*.csv, and prints what is true of them: what
`diagxnet.tables` should find. Scores are binormal (Green and Swets 1966): standard normal where a finding is absent and
shifted by d where it is present, so that the AUROC is Phi(d / sqrt 2). A part of the noise is in the image, and is the
same for all who look at it; a part of that is in the patient.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from scipy.special import expit, ndtr

from diagxnet.console.commands import run_command
from diagxnet.data.files import write_text

FINDINGS = {"Effusion": 0.35, "Nodule": 0.2, "Rib Fracture": 0.12, "Scoliosis": 0.25}
"""Share of positives by finding."""

MODELS = {"vendor": 0.86, "colleague": 0.84, "ours": 0.85, "old": 0.74}
"""True AUROC by model."""

READERS = {"reader_a": (0.70, 0.90), "reader_b": (0.80, 0.85), "reader_c": (0.62, 0.85)}
"""True sensitivity and specificity by reader."""

COMMON = 0.4
"""Of the variance of a score's noise, the part that is in the image."""

SAME_PATIENT = 0.5
"""Of that, and of what makes a unit positive, the part that is in the patient."""

TOGETHER = 0.3
"""Of what makes a unit positive, the part that its findings have in common."""


@dataclass(frozen=True)
class Drawn:
    """patients: [units] numbers. targets: [units, findings] bool. scores: [models, units, findings] float64. calls:
    [readers, units, findings] bool; models, readers and findings as in MODELS, READERS, FINDINGS."""

    patients: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    calls: np.ndarray


def draw(units: int, seed: int, *, patients: int | None = None) -> Drawn:
    """`units` of `patients` (default: as many), every finding known, with at least one of either class."""
    generator = np.random.default_rng([seed, units])
    owners = np.arange(units) % (patients or units)
    shape = units, len(FINDINGS)

    def mixed(part: float, common: np.ndarray) -> np.ndarray:
        return part**0.5 * common + (1 - part) ** 0.5 * generator.normal(size=shape)

    def by_patient() -> np.ndarray:
        return mixed(SAME_PATIENT, generator.normal(size=shape)[owners])

    ill = TOGETHER**0.5 * generator.normal(size=(units, 1))[owners] + (1 - TOGETHER) ** 0.5 * by_patient()
    cuts = [NormalDist().inv_cdf(1 - share) for share in FINDINGS.values()]
    targets = ill > cuts
    targets[0], targets[1] = True, False
    image = by_patient()
    scores = [mixed(COMMON, image) + shift(auroc) * targets for auroc in MODELS.values()]
    calls = []
    for sensitivity, specificity in READERS.values():
        cut = NormalDist().inv_cdf(specificity)
        calls.append(mixed(COMMON, image) + (cut + NormalDist().inv_cdf(sensitivity)) * targets > cut)
    return Drawn(owners, targets, np.stack(scores), np.stack(calls))


def shift(auroc: float) -> float:
    """The d that makes an AUROC."""
    return NormalDist().inv_cdf(auroc) * 2**0.5


def best_auroc() -> float:
    """AUROC of the best linear combination of all models: with covariance S, d is sqrt(d' S^-1 d) (Su and Liu 1993)."""
    shifts = np.array([shift(auroc) for auroc in MODELS.values()])
    covariance = np.full((len(shifts),) * 2, COMMON) + (1 - COMMON) * np.eye(len(shifts))
    return float(ndtr((shifts @ np.linalg.solve(covariance, shifts) / 2) ** 0.5))


def as_written(name: str, scores: np.ndarray) -> np.ndarray:
    """A model's scores as its maker would give them: probabilities, logits, or points of 100 in whole numbers."""
    if name == "colleague":
        return scores * 2 - 3
    return np.round(100 * expit(scores - 1)) if name == "old" else expit(1.5 * scores - 2)


def write(drawn: Drawn, folder: Path) -> None:
    """The tables; each model has its columns in another order."""
    studies = [f"patient{owner:05d}/study{number}" for owner, number in _studies(drawn.patients)]
    titles = [*FINDINGS]
    _write(folder / "groundtruth.csv", studies, titles, drawn.targets.astype(int))
    for place, (name, scores) in enumerate(zip(MODELS, drawn.scores, strict=True)):
        order = [(place + f) % len(titles) for f in range(len(titles))]
        written = as_written(name, scores)[:, order]
        _write(folder / f"models/{name}.csv", studies, [titles[f] for f in order], written)
    for name, calls in zip(READERS, drawn.calls, strict=True):
        _write(folder / f"readers/{name}.csv", studies, titles, calls.astype(int))


def _studies(patients: np.ndarray) -> list[tuple[int, int]]:
    seen: dict[int, int] = {}
    found = []
    for owner in patients.tolist():
        seen[owner] = seen.get(owner, 0) + 1
        found.append((owner, seen[owner]))
    return found


def _write(path: Path, studies: list[str], titles: list[str], values: np.ndarray) -> None:
    lines = [",".join(["Study", *titles])]
    lines += [",".join([study, *(f"{value:.6g}" for value in row)]) for study, row in zip(studies, values, strict=True)]
    write_text(path, "\n".join(lines) + "\n")


def main(arguments: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="python -m diagxnet.tables.drawn", description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path, help="where the tables go")
    options.add_argument("--studies", type=int, default=600, help="default: 600, of two thirds as many patients")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args(arguments)

    def work() -> int:
        write(draw(given.studies, given.seed, patients=given.studies * 2 // 3), given.folder)
        print("true AUROC of every finding:", ", ".join(f"{name} {value:.3f}" for name, value in MODELS.items()))
        print(f"of their best linear combination: {best_auroc():.3f}")
        for name, (sensitivity, specificity) in READERS.items():
            print(f"{name}: sensitivity {sensitivity:.2f} at specificity {specificity:.2f}")
        return 0

    return run_command("drawn", work)


if __name__ == "__main__":
    sys.exit(main())
