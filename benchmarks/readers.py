"""Coverage of the intervals of a reader minus the stack, in drawn reader studies; prints the table of docs/members.md.

    python -m benchmarks.readers --sets 500

Each set is drawn by `diagxnet.tables.drawn`: a reader's sensitivity and specificity are known, and the sensitivity of
the set's stack at that specificity is that on POPULATION units of other patients. It is noted whether the 95% interval
of the difference, from the set alone, holds the true one. The error of a coverage of 95% in 500 sets is 1%.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from diagxnet.console.progress import Progress
from diagxnet.data.findings import Findings
from diagxnet.statistics.scored import Scored
from diagxnet.tables.aligned import Aligned, Reader
from diagxnet.tables.drawn import FINDINGS, MODELS, READERS, Drawn, draw
from diagxnet.tables.measure import ENSEMBLE
from diagxnet.tables.readers import readers_figures
from diagxnet.tables.stack import inputs_of, out_of_fold

POPULATION = 100_000


def aligned_of(drawn: Drawn) -> Aligned:
    """What `align` would read from the drawn tables."""
    findings = Findings(tuple(FINDINGS))
    known = np.ones_like(drawn.targets)
    patients = np.array([f"patient{owner:05d}" for owner in drawn.patients], object)
    readers = {name: Reader(calls, known) for name, calls in zip(READERS, drawn.calls, strict=True)}
    units = [*map(str, range(len(known)))]
    probability = 1 / (1 + np.exp(-drawn.scores))
    return Aligned(
        findings, units, patients, drawn.targets, known, tuple(MODELS), drawn.scores, probability, readers, []
    )


@dataclass(frozen=True)
class Population:
    """Other patients: inputs of a stack [units, members, findings], and targets [units, findings] bool."""

    inputs: np.ndarray
    targets: np.ndarray

    @classmethod
    def draw(cls, units: int = POPULATION) -> "Population":
        drawn = draw(units, 1_000_003)
        return cls(inputs_of(drawn.scores), drawn.targets)


def intervals(
    drawn: Drawn, population: Population, *, folds: int, repeats: int, bootstrap: int, seed: int
) -> dict[str, list]:
    """By reader, for "macro" and each finding, (true, found, lower, upper) of reader minus stack in sensitivity."""
    aligned = aligned_of(drawn)
    stack = out_of_fold(
        inputs_of(drawn.scores),
        drawn.targets,
        aligned.mask,
        aligned.patients,
        folds=folds,
        repeats=repeats,
        seed=seed,
    )
    names = np.array(aligned.units, object)
    labels = drawn.targets, aligned.mask, aligned.patients
    scored = Scored((ENSEMBLE,), stack.scores[None], *labels, {}, names, aligned.findings)
    keys = aligned.findings.keys
    found = readers_figures(scored, aligned.readers, keys, resamples=bootstrap, seed=seed)
    scores = stack.whole.scores(population.inputs)
    entries = {}
    for name, (sensitivity, specificity) in READERS.items():
        minus = found[name]["at_his_specificity"][ENSEMBLE]["reader_minus_model"]
        true = {}
        for f, key in enumerate(keys):
            positive = population.targets[:, f]
            cut = np.quantile(scores[~positive, f], specificity)
            true[key] = sensitivity - float((scores[positive, f] > cut).mean())
        entries[name] = [
            (key, true[key], minus["per_finding"][key], *minus["ci"]["per_finding"][key].values()) for key in true
        ]
        entries[name].append(("macro", np.mean([*true.values()]), minus["macro"], *minus["ci"]["macro"].values()))
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--bootstrap", type=int, default=500)
    options = parser.parse_args()
    population = Population.draw()
    held, errors = defaultdict(list), defaultdict(list)
    how = {"folds": options.folds, "repeats": options.repeats, "bootstrap": options.bootstrap}
    with Progress(options.sets, "readers", "sets") as progress:
        for number in range(options.sets):
            drawn = draw(options.studies, number, patients=options.studies * 3 // 4)
            for name, entries in intervals(drawn, population, **how, seed=number).items():
                for what, true, value, lower, upper in entries:
                    held[name, what].append(lower <= true <= upper)
                    errors[name, what].append(value - true)
            progress.update()
    columns = [*dict.fromkeys(what for _, what in held)]
    print(f"| {options.sets} sets of {options.studies} studies | {' | '.join(columns)} |")
    print(f"|---|{'---:|' * len(columns)}")
    for name in READERS:
        cells = [f"{np.mean(held[name, what]):.1%}" for what in columns]
        print(f"| {name} | {' | '.join(cells)} |")
    for name in READERS:
        cells = [f"{np.mean(errors[name, what]):+.4f} ({np.std(errors[name, what]):.4f})" for what in columns]
        print(f"| {name}: found minus true, mean (spread) | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
