"""Calibration and thresholds of a trained ensemble for another hospital, fitted on a labelled sample of its own.

Logistic recalibration (Cox 1958; Steyerberg et al., "Validation and updating of predictive logistic regression models",
Statistics in Medicine 23, 2004): the weights stay, and of each finding move slope and intercept, the intercept alone,
or nothing, as far as the sample tells. How sure it is of either follows from its information, patient by patient (Riley
et al., "Minimum sample size for external validation of a clinical prediction model with a binary outcome", Statistics
in Medicine 40, 2021), and so do the patients that would suffice at this prevalence.

What is reported of the new calibration is cross-fitted: each patient's probabilities and thresholds are of a fit to the
other patients. What is written is fitted to all.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json
from diagxnet.data.findings import Findings
from diagxnet.ensemble.calibration import (
    KEPT,
    NOT_LEARNED,
    RULES,
    UNCALIBRATED,
    Calibration,
    FindingCalibration,
    probabilities,
    write_calibration,
)
from diagxnet.ensemble.ensemble import CALIBRATION, Ensemble
from diagxnet.ensemble.local import OWN, models_hash
from diagxnet.external.folder import score_folder
from diagxnet.external.gap import calibration_estimates
from diagxnet.statistics.calibrating import bounded, fit_finding, offset, thresholds
from diagxnet.statistics.metrics import auroc, means, per_finding
from diagxnet.statistics.recalibration import CERTAIN, refit
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.uncertainty import compare
from diagxnet.tables.stack import deal

ENSEMBLE = "ensemble"
FOLDS = 5

INTERCEPT_ERROR, SLOPE_ERROR = 0.5, 0.25
"""Standard errors up to which the intercept, and the slope beside it, are taken from the sample. Half a logit turns
0.10 into 0.15; a slope of 1 with that error is 0.5 to 1.5 at 95%, and that of a steeper one is a share of it. A noisier
fit is no better than what other patients taught."""


@dataclass(frozen=True)
class Evidence:
    """What the sample tells of a finding: `in_the_large` and `slope` (see `statistics.recalibration`) of the
    calibration so far, each with its standard error over patients. None of it where a class has fewer than two.

    patients, positives, negatives: with a known label; units of either class.
    """

    patients: int
    positives: int
    negatives: int
    in_the_large: float | None = None
    in_the_large_error: float | None = None
    slope: float | None = None
    slope_error: float | None = None

    @property
    def moves(self) -> str:
        """What the sample suffices for: `platt` (slope and intercept), `intercept` or KEPT."""
        if self.in_the_large_error is None or self.in_the_large_error > INTERCEPT_ERROR:
            return KEPT
        return "platt" if self.slope_error <= self._most_of_slope() else "intercept"

    def _most_of_slope(self) -> float:
        return SLOPE_ERROR * max(1, self.slope or 1)

    def content(self) -> dict[str, Any]:
        """The fields, and the patients that would suffice for either; null where the sample does not tell."""
        wanted = {
            "intercept": (self.in_the_large_error, INTERCEPT_ERROR),
            "slope": (self.slope_error, self._most_of_slope()),
        }
        needed = {
            name: None if error is None else max(4, math.ceil(self.patients * (error / most) ** 2))
            for name, (error, most) in wanted.items()
        }
        return vars(self) | {"patients_for": needed | {"slope": _larger(needed)}}


def _larger(needed: Mapping[str, int | None]) -> int | None:
    """A slope wants its intercept, too."""
    return None if None in needed.values() else max(needed.values())


def evidence(scored: Scored, model: int, finding: int, source: FindingCalibration) -> Evidence:
    """Of the model and finding in those places of `scored`, calibrated as `source` says so far."""
    known = scored.known(finding)
    targets, patients = scored.targets[known, finding], scored.patients[known]
    codes = np.unique(patients, return_inverse=True)[1]
    counts = len(np.unique(codes)), int(targets.sum()), int((~targets).sum())
    if min(len(set(patients[own])) for own in (targets, ~targets)) < 2:
        return Evidence(*counts)
    probability = expit(source.slope * scored.logits[model, known, finding] + source.intercept)
    values, moved = refit(logit(probability.clip(CERTAIN, 1 - CERTAIN)), targets)
    by_patient = np.array([np.bincount(codes, each) for each in moved])
    errors = np.sqrt((by_patient**2).sum(axis=1) * counts[0] / (counts[0] - 1))
    (in_the_large, slope), (its_error, slope_error) = values.tolist(), errors.tolist()
    return Evidence(*counts, in_the_large, its_error, slope, slope_error)


def recalibrate(scored: Scored, source: Calibration) -> Calibration:
    """The calibration of each model of `scored`, moved from `source` as far as `scored` tells."""
    result = {}
    for m, model in enumerate(scored.models):
        own = scored.of(model)
        moved = {key: _moved(own, m, f, source[model][key]) for f, key in enumerate(own.keys)}
        parents = {key: each.parent for key, each in source[model].items() if each.parent is not None}
        result[model] = bounded(moved, own, m, parents)
    return result


def _moved(scored: Scored, model: int, finding: int, source: FindingCalibration) -> FindingCalibration:
    if source.fit == NOT_LEARNED.fit:
        return source
    moves = evidence(scored, model, finding, source).moves
    known = scored.known(finding)
    logits, targets = scored.logits[model, known, finding], scored.targets[known, finding]
    if moves == KEPT:
        return source if source.fit == UNCALIBRATED else replace(source, fit=KEPT)
    if moves == "platt":
        return fit_finding(logits, targets, 1)
    intercept = offset(logits, targets, source.slope)
    cuts = thresholds(expit(source.slope * logits + intercept), targets)
    counts = int(targets.sum()), int((~targets).sum())
    return FindingCalibration(source.slope, intercept, moves, *counts, cuts)


def cross_fitted(
    scored: Scored, source: Calibration, folds: int, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The ensemble's probabilities [units, findings], and its thresholds by rule [units, findings] (NaN: none), each by
    a fit to the patients of the other `folds`. InputError where there are fewer patients than folds."""
    only = scored.only([ENSEMBLE])
    dealt = deal(scored.patients, folds, seed)
    probability = np.empty(scored.targets.shape)
    cuts = {rule: np.empty(scored.targets.shape) for rule in RULES}
    for fold in range(folds):
        out = dealt == fold
        fitted = recalibrate(only.subset(~out), source)[ENSEMBLE]
        probability[out] = probabilities(only.logits[0][out], fitted)
        for rule in RULES:
            cuts[rule][out] = _cuts(fitted, rule)
    return probability, cuts


def _cuts(calibration: Mapping[str, FindingCalibration], rule: str) -> list[float]:
    return [np.nan if own.thresholds is None else own.thresholds[rule] for own in calibration.values()]


def report(scored: Scored, source: Calibration, *, folds: int, resamples: int, seed: int, least: int) -> dict[str, Any]:
    """What the ensemble's new calibration is worth, with 95% intervals over patients.

    scored: the sample. source: the calibration so far. least: positives and negatives that a finding in means must
    have (see `Scored.headline`).

    {"folds", "ece" | "brier" | "excess": {"before": means, "after": means, "difference": see `uncertainty.compare`},
     "auroc": means, which no calibration moves, RULE: {"sensitivity" | "specificity": {"before", "after"}}}; after is
    cross-fitted.
    """
    before = probabilities(scored.logits[-1], source[ENSEMBLE])
    after, cuts = cross_fitted(scored, source, folds, seed)
    headline = scored.headline(least)
    options = {"resamples": resamples, "seed": seed}
    old, new = (calibration_estimates(scored, each, **options) for each in (before, after))
    result: dict[str, Any] = {"folds": folds}
    for name in old:
        keys = list(old[name].values)
        here, there = (each[name].only(keys, headline) for each in (new, old))
        own = {"before": means(there.values, headline), "after": means(here.values, headline)}
        result[name] = own | {"difference": compare(here, there)}
    result["auroc"] = means(per_finding(scored, scored.logits[-1], auroc), headline)
    for rule in RULES:
        old_cuts = np.array(_cuts(source[ENSEMBLE], rule))
        own = {"before": before >= old_cuts, "after": after >= cuts[rule]}
        lacking = np.isnan(old_cuts) | np.isnan(cuts[rule]).any(axis=0)
        called_keys = [key for key, without in zip(scored.keys, lacking, strict=True) if not without]
        result[rule] = {
            measure: {name: _rates(scored, called, rate, called_keys, headline) for name, called in own.items()}
            for measure, rate in RATES.items()
        }
    return result


def _rates(
    scored: Scored, called: np.ndarray, rate: Callable, keys: Collection[str], headline: Collection[str]
) -> dict[str, object]:
    """`means` of `rate` over those of `keys`, the findings that have a threshold."""
    found = per_finding(scored, called, rate)
    return means({key: value for key, value in found.items() if key in keys}, headline)


RATES = {
    "sensitivity": lambda targets, called: float(called[targets].mean()),
    "specificity": lambda targets, called: float((~called[~targets]).mean()),
}


def recalibrate_folder(
    root: Path, models: Path, scoring: Scoring, *, out: Path, **options: Any
) -> tuple[dict, Findings]:
    """Fits the ensemble of `models` to the labelled folder `root`, writes `out` and returns its OWN and the findings.

    scoring: but for its unit. options: see `score_folder`, as are the errors; InputError, too, where no finding has two
    patients of either class, or there are fewer patients than FOLDS.
    """
    ensemble = Ensemble.load(models, given=options.get("scores") or ())
    folder = score_folder(ensemble, root, models, **options)
    scored, source = folder.scored, ensemble.calibration
    if not scored.enough(1).any():
        raise InputError(f"{root}: no finding has two patients with it and two without (give more labelled images)")
    fitted = recalibrate(scored, source)
    place = scored.models.index(ENSEMBLE)
    told = {
        key: evidence(scored, place, f, source[ENSEMBLE][key])
        for f, key in enumerate(scored.keys)
        if key not in ensemble.not_learned and len(scored.known(f))
    }
    seed = {"seed": scoring.seed, "resamples": scoring.bootstrap, "least": scoring.min_positives}
    own = {
        "models": models_hash(models, tuple(ensemble.base)),
        "data": root.resolve().name,
        "patients": len(set(scored.patients)),
        "units": len(scored.patients),
        "trained_on": folder.guard,
        "findings": {key: {"fit": fitted[ENSEMBLE][key].fit} | each.content() for key, each in told.items()},
        "cross_fitted": report(scored, source, folds=FOLDS, **seed),
    }
    write_calibration(out, fitted, folder.unit, read_json(models / CALIBRATION)["best_base"], {OWN: own})
    return own, ensemble.findings


def table(own: Mapping[str, Any], findings: Findings) -> str:
    """What `recalibrate_folder` returned, as text: a row a finding, and what the new calibration is worth."""
    width = max(len(findings.titles[key]) for key in own["findings"])
    title = f"{'positives':>14}{'in the large':>16}{'slope':>14}  {'moves':16}"
    lines = [f"{'':{width}}{title}  patients it takes", f"{'':{width}}{'':62}{'intercept':>11}{'slope':>9}"]
    for key, each in own["findings"].items():
        values = [
            "" if each[name] is None else f"{each[name]:.2f} \u00b1 {each[f'{name}_error']:.2f}"
            for name in ("in_the_large", "slope")
        ]
        wanted = ["unknown" if least is None else f"{least:,}" for least in each["patients_for"].values()]
        counts = f"{each['positives']:,} of {each['positives'] + each['negatives']:,}"
        cells = f"{counts:>14}{values[0]:>16}{values[1]:>14}  {MOVED[each['fit']]:16}"
        lines.append(f"{findings.titles[key]:{width}}{cells}{wanted[0]:>11}{wanted[1]:>9}")
    return "\n".join([*lines, *_worth(own)])


MOVED = {
    "platt": "slope, intercept",
    "flat": "slope, intercept",
    "intercept": "intercept",
    KEPT: "nothing",
    UNCALIBRATED: "",
}


def _worth(own: Mapping[str, Any]) -> Iterator[str]:
    found = own["cross_fitted"]
    yield (
        f"{own['patients']:,} patients; means over findings, each patient by a fit to the patients of the other "
        f"folds, {found['folds']} in all:"
    )
    for name, title in {"ece": "ECE", "brier": "Brier score", "excess": "mean probability - prevalence"}.items():
        each = found[name]
        change, ends = (each["difference"]["macro"][part] for part in ("difference", "ci"))
        yield (
            f"  {title}: {each['before']['macro']:.3f} before, {each['after']['macro']:.3f} after; "
            f"{change:+.3f} ({ends['lower']:+.3f} to {ends['upper']:+.3f})"
        )
    for rule in RULES:
        rates = [
            f"{name} {each['before']['macro']:.2f} before, {each['after']['macro']:.2f} after"
            for name, each in found[rule].items()
            if "macro" in each["before"]
        ]
        yield f"  at the thresholds {rule}: {'; '.join(rates) or 'none'}"
    yield f"  AUROC: {found['auroc']['macro']:.3f} before and after"
