"""How much one training is worth: the spread of figures over trainings that differ in `seed` alone, beside that of
resampled patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from diagxnet.statistics.comparison import label, models_of

NORMAL = 1.959964
"""Half a 95% interval in standard errors."""

DIFFERENCES = {"best_base": "its best base model", "average": "the plain average"}


@dataclass(frozen=True)
class Spread:
    """A figure of several trainings. what: which. values: [trainings], each training's. patients: the standard error
    over resampled patients of one training, the root of the mean square over the trainings; None of a figure without
    interval."""

    what: tuple[str, str]
    values: np.ndarray
    patients: float | None

    @property
    def trainings(self) -> float:
        """The standard deviation over trainings, n - 1 in its denominator."""
        return float(self.values.std(ddof=1))

    @property
    def both(self) -> float | None:
        """The standard error of one training's figure over other patients and another training: as the two are drawn
        apart, their variances add up (law of total variance)."""
        return None if self.patients is None else float(np.hypot(self.trainings, self.patients))


def spreads(evaluations: Sequence[dict[str, Any]]) -> list[Spread]:
    """Of the content of metrics/evaluation.json of two or more trainings: on val and on test the macro AUROC and AUPRC
    of each model that all have, and the ensemble minus its best base model and minus the average on test."""
    models = [name for name in models_of(evaluations[0]) if all(name in other for other in evaluations)]
    found = [
        Spread((f"{label(model)} on val", metric.upper()), _values(evaluations, model, "val", metric), None)
        for model, metric in product(models, ("auroc", "auprc"))
        if all(metric in own[model].get("val", {}) for own in evaluations)
    ]
    for model, metric in product(models, ("auroc", "auprc")):
        intervals = [own[model][metric]["ci"]["macro"] for own in evaluations]
        values = _values(evaluations, model, metric, "macro")
        found.append(Spread((f"{label(model)} on test", metric.upper()), values, _error(intervals)))
    for other, metric in product(DIFFERENCES, ("auroc", "auprc")):
        own = [evaluation["comparison"][f"ensemble_minus_{other}"][metric]["macro"] for evaluation in evaluations]
        values = np.array([each["difference"] for each in own])
        what = (f"Ensemble - {DIFFERENCES[other]}, on test", metric.upper())
        found.append(Spread(what, values, _error([each["ci"] for each in own])))
    return found


def spread_table(found: Sequence[Spread]) -> list[str]:
    """Lines of a table of `spreads`, aligned."""
    width = max(len(each.what[0]) for each in found)
    lines = [f"{'':{width}}          mean   trainings   patients       both   least to most of {len(found[0].values)}"]
    for each in found:
        patients, both = ("" if value is None else f"{value:.4f}" for value in (each.patients, each.both))
        sign = "+" if "-" in each.what[0] else ""
        values = f"{each.values.min():{sign}.4f} to {each.values.max():{sign}.4f}"
        lines.append(
            f"{each.what[0]:{width}}  {each.what[1]}  {each.values.mean():{sign or ' '}.4f}  {each.trainings:10.4f} "
            f"{patients:>10} {both:>10}   {values}"
        )
    return lines


def _values(evaluations: Sequence[dict[str, Any]], *keys: str) -> np.ndarray:
    values = []
    for own in evaluations:
        for key in keys:
            own = own[key]
        values.append(own)
    return np.array(values, float)


def _error(intervals: Sequence[dict[str, float]]) -> float:
    halves = [(each["upper"] - each["lower"]) / 2 / NORMAL for each in intervals]
    return float(np.sqrt(np.mean(np.square(halves))))
