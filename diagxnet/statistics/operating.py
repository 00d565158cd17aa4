"""What a model's calls are worth at the thresholds that were fixed on val, and its Brier score, with intervals.

Each is a ratio of two sums over units, so that in a resample of patients it is the ratio of the resampled sums.
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np

from diagxnet.ensemble.calibration import RULES, FindingCalibration
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import Estimate, with_intervals

OUTCOMES = ("true_positive", "false_positive", "false_negative", "true_negative")

MEASURES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "sensitivity": lambda tp, fp, fn, tn: (tp, tp + fn),
    "specificity": lambda tp, fp, fn, tn: (tn, tn + fp),
    "precision": lambda tp, fp, fn, tn: (tp, tp + fp),
    "npv": lambda tp, fp, fn, tn: (tn, tn + fn),
    "f1": lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn),
}
"""Of the calls: what is counted, and among how many; precision is the positive predictive value. Where there is none
to count among (nobody called, say), the figure is 0, and its interval 0 to 1."""

AT_PREVALENCE: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "precision": lambda sensitivity, specificity, p: (
        sensitivity * p, sensitivity * p + (1 - specificity) * (1 - p)
    ),
    "npv": lambda sensitivity, specificity, p: (
        specificity * (1 - p), specificity * (1 - p) + (1 - sensitivity) * p
    ),
}  # fmt: skip
"""The same two where positives are a share p of all, by Bayes."""


def confusion(targets: np.ndarray, called: np.ndarray) -> dict[str, int]:
    """Counts of OUTCOMES; both arguments [units] bool."""
    return dict(zip(OUTCOMES, outcomes(targets, called).sum(axis=0).tolist(), strict=True))


def confusions(
    scored: Scored, probability: np.ndarray, calibration: Mapping[str, FindingCalibration], rule: str
) -> dict[str, dict[str, int]]:
    """`confusion` of each finding with both classes here and a threshold of `rule`; probability: [units, findings]."""
    calls = _calls(scored, probability, calibration, rule)
    columns = {key: scored.keys.index(key) for key in calls}
    return {key: confusion(scored.targets[scored.known(f), f], calls[key]) for key, f in columns.items()}


def operating_points(
    scored: Scored,
    probability: np.ndarray,
    calibration: Mapping[str, FindingCalibration],
    draws: Draws,
    headline: Collection[str],
    prevalence: Mapping[str, float],
) -> dict[str, dict[str, dict[str, object]]]:
    """{rule: {measure: its means over `headline` and per finding, with intervals}} of MEASURES.

    probability: [units, findings]. draws: of the patients of `scored`. prevalence: by key, of the findings whose
    precision and npv are wanted as they would be at that share of positives, under "at_prevalence".
    """
    result: dict[str, dict[str, dict[str, object]]] = {}
    for rule in RULES:
        measured: dict[str, Ratios] = {name: Ratios() for name in MEASURES}
        stated: dict[str, Ratios] = {name: Ratios() for name in AT_PREVALENCE}
        for key, called in _calls(scored, probability, calibration, rule).items():
            f = scored.keys.index(key)
            known = scored.known(f)
            own = draws.by_patient(outcomes(scored.targets[known, f], called), known)
            total, drawn = own.sum(axis=0), draws.sums(own).T
            for name, measure in MEASURES.items():
                patients = int((measure(*own.T)[1] > 0).sum())
                measured[name].add(key, measure(*total), measure(*drawn), patients)
            if key in prevalence:
                for name, measure in AT_PREVALENCE.items():
                    rates = (measured["sensitivity"], measured["specificity"])
                    of_all = measure(*(each.values[key] for each in rates), prevalence[key])
                    of_drawn = measure(*(each.drawn[key] for each in rates), prevalence[key])
                    stated[name].add(key, of_all, of_drawn, min(each.sizes[key] for each in rates))
        result[rule] = {name: each.with_intervals(headline) for name, each in measured.items()}
        if stated["npv"].values:
            wanted = {key: prevalence[key] for key in stated["npv"].values}
            result[rule]["at_prevalence"] = {name: each.with_intervals(()) for name, each in stated.items()}
            result[rule]["at_prevalence"]["prevalence"] = wanted
    return result


def brier_scores(scored: Scored, probability: np.ndarray, draws: Draws, headline: Collection[str]) -> dict[str, object]:
    """The mean squared distance of `probability` [units, findings] from the truth (Brier 1950), with intervals."""
    scores = Ratios()
    for f in np.flatnonzero(scored.scorable()):
        known = scored.known(f)
        squared = (probability[known, f] - scored.targets[known, f]) ** 2
        own = draws.by_patient(np.stack([squared, np.ones(len(known))], axis=1), known)
        scores.add(scored.keys[f], own.sum(axis=0), draws.sums(own).T, int((own[:, 1] > 0).sum()))
    return scores.with_intervals(headline)


class Ratios:
    """A measure by finding key: `values`, `drawn` [resamples], and `sizes`, the patients whom it counts among."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.drawn: dict[str, np.ndarray] = {}
        self.sizes: dict[str, int] = {}

    def add(self, key: str, of_all: tuple, of_drawn: tuple, patients: int) -> None:
        """of_all, of_drawn: what is counted, and among how many, in all units and [resamples] in each resample."""
        counted, among = map(float, of_all)
        self.values[key] = counted / among if among else 0.0
        with np.errstate(invalid="ignore", divide="ignore"):  # NaN in a resample where there is none to count among
            self.drawn[key] = np.divide(*of_drawn)
        self.sizes[key] = patients

    def with_intervals(self, headline: Collection[str]) -> dict[str, object]:
        keys = tuple(key for key in self.values if key in headline)
        return with_intervals(Estimate(self.values, self.drawn, self.sizes, keys))


def _calls(
    scored: Scored, probability: np.ndarray, calibration: Mapping[str, FindingCalibration], rule: str
) -> dict[str, np.ndarray]:
    """Whether each known unit is called positive, by key of the findings with both classes and a threshold."""
    cuts = {scored.keys[f]: calibration[scored.keys[f]].thresholds for f in np.flatnonzero(scored.scorable())}
    return {
        key: probability[scored.known(scored.keys.index(key)), scored.keys.index(key)] >= own[rule]
        for key, own in cuts.items()
        if own is not None
    }


def outcomes(targets: np.ndarray, called: np.ndarray) -> np.ndarray:
    """[units, 4] bool: which of OUTCOMES each is."""
    return np.stack([targets & called, ~targets & called, targets & ~called, ~targets & ~called], axis=1)
