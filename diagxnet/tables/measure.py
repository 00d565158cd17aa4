"""What is measured of members, their means, their stack and the readers: content of metrics.json."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from diagxnet.ensemble.calibration import RULES
from diagxnet.statistics.bootstrap import Draws, resample
from diagxnet.statistics.calibrating import fit_finding
from diagxnet.statistics.comparison import verdict
from diagxnet.statistics.metrics import brier, ece, means
from diagxnet.statistics.operating import MEASURES, Ratios, outcomes
from diagxnet.statistics.uncertainty import METRICS, Estimate, Estimates, compare, with_intervals
from diagxnet.tables.aligned import Aligned
from diagxnet.tables.predictions import shares
from diagxnet.tables.readers import readers_figures
from diagxnet.tables.stack import OutOfFold, inputs_of, out_of_fold

ENSEMBLE = "ensemble"
COMBINED = ("probability_mean", "rank_mean", ENSEMBLE)
"""What is scored beside the members: the means of their probabilities and of their ranks, and the stack."""

CERTAIN = 1e-9
"""Nearest to 0 and 1 that a mean probability counts, so that its log odds are finite."""


@dataclass(frozen=True)
class Settings:
    """folds, repeats: of patients, for the stack and for all that is fitted. bootstrap: resamples of patients for each
    95% interval. min_positives: so many positives and negatives a finding must have to be in means and verdicts, and to
    be given a slope. seed: of folds and resamples."""

    folds: int = 10
    repeats: int = 5
    bootstrap: int = 1000
    min_positives: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Judged:
    """models: the members, then COMBINED. scores: [models, units, findings] float64, higher is more positive; the
    stack's are out of fold. stack: see `stack`. evaluation: content of metrics.json. headline: keys of the findings
    that means are over."""

    aligned: Aligned
    models: tuple[str, ...]
    scores: np.ndarray
    stack: OutOfFold
    evaluation: dict
    headline: tuple[str, ...]


def judge(aligned: Aligned, settings: Settings, *, shown: bool = False) -> Judged:
    """Stacks the members and measures everything; InputError where there are too few patients for the folds.

    shown: whether a bar or line tells how far it is.
    """
    targets, mask, patients = aligned.targets, aligned.mask, aligned.patients
    inputs = inputs_of(aligned.log_odds)
    own = {"folds": settings.folds, "repeats": settings.repeats, "seed": settings.seed}
    stack = out_of_fold(inputs, targets, mask, patients, **own, shown=shown)
    models = (*aligned.members, *COMBINED)
    scores = np.concatenate([aligned.log_odds, np.stack([*means_of(aligned), stack.scores])])
    headline = headline_of(aligned, settings.min_positives)
    estimates = _estimates(aligned, models, scores, headline, settings)
    draws = Draws.of(patients, resamples=settings.bootstrap, seed=settings.seed)
    probability, called = _calibrated(aligned, scores, stack.folds, settings.min_positives)
    rates = {
        key: float(targets[mask[:, f], f].mean()) for f, key in enumerate(aligned.findings) if scorable(aligned)[f]
    }
    evaluation: dict = {}
    for m, model in enumerate(models):
        evaluation[model] = {
            "auroc": with_intervals(estimates[model]["auroc"]),
            "auprc": with_intervals(estimates[model]["auprc"]) | {"prevalence": means(rates, headline)},
            "brier": means(_each(aligned, probability[m], brier), headline),
            "ece": means(_each(aligned, probability[m], ece), headline),
        }
        for rule in RULES:
            evaluation[model][rule] = _operating(aligned, called[rule][m], draws, headline)
    evaluation["comparison"] = _comparison(estimates, aligned.members)
    evaluation["readers"] = readers_figures(aligned, models, scores, headline, settings.bootstrap, settings.seed)
    evaluation["stack"] = _parts(aligned, stack)
    evaluation["counts"] = _counts(aligned, headline)
    evaluation["settings"] = vars(settings)
    evaluation["notes"] = aligned.notes
    return Judged(aligned, models, scores, stack, evaluation, headline)


def means_of(aligned: Aligned) -> tuple[np.ndarray, np.ndarray]:
    """Log odds [units, findings] of the members' mean probability, and of their mean share of rows below."""
    ranks = np.apply_along_axis(shares, 1, aligned.log_odds)
    probability, rank = (each.mean(axis=0).clip(CERTAIN, 1 - CERTAIN) for each in (aligned.probability, ranks))
    return logit(probability), logit(rank)


def scorable(aligned: Aligned) -> np.ndarray:
    """[findings] bool, True where both classes are known."""
    return np.minimum((aligned.targets & aligned.mask).sum(0), (~aligned.targets & aligned.mask).sum(0)) > 0


def rarer_patients(aligned: Aligned) -> dict[str, int]:
    """By finding the patients with a positive unit, or those with a negative one, whichever are fewer."""
    known = (aligned.targets & aligned.mask, ~aligned.targets & aligned.mask)
    return {key: min(len(set(aligned.patients[own[:, f]])) for own in known) for f, key in enumerate(aligned.findings)}


def headline_of(aligned: Aligned, min_positives: int) -> tuple[str, ...]:
    """Keys of the findings that means and verdicts are over (see `Scored.headline` of `statistics.scored`)."""
    positives, negatives = (aligned.targets & aligned.mask).sum(0), (~aligned.targets & aligned.mask).sum(0)
    two = np.array([*rarer_patients(aligned).values()]) >= 2
    enough = (np.minimum(positives, negatives) >= min_positives) & two
    chosen = next(filter(np.any, (enough, two)), scorable(aligned))
    return tuple(key for key, taken in zip(aligned.findings, chosen, strict=True) if taken)


def _estimates(
    aligned: Aligned, models: Sequence[str], scores: np.ndarray, headline: tuple[str, ...], settings: Settings
) -> Estimates:
    own = {"resamples": settings.bootstrap, "seed": settings.seed}
    drawn = resample(scores, aligned.targets, aligned.mask, aligned.patients, **own)
    sizes = rarer_patients(aligned)
    found: Estimates = {}
    for m, model in enumerate(models):
        found[model] = {}
        for name, metric in METRICS.items():
            values = _each(aligned, scores[m], metric)
            by_key = {key: getattr(drawn, name)[m, place] for place, key in enumerate(aligned.findings)}
            found[model][name] = Estimate(values, {key: by_key[key] for key in values}, sizes, headline)
    return found


def _each(aligned: Aligned, values: np.ndarray, metric: Callable[[np.ndarray, np.ndarray], float]) -> dict[str, float]:
    """`metric` of targets and `values` [units, findings] of each finding with both classes, by key."""
    found = {}
    for f, key in enumerate(aligned.findings):
        if scorable(aligned)[f]:
            known = aligned.mask[:, f]
            found[key] = metric(aligned.targets[known, f], values[known, f])
    return found


def _calibrated(
    aligned: Aligned, scores: np.ndarray, folds: np.ndarray, min_positives: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Probabilities [models, units, findings], and by rule the calls [models, units, findings] bool: calibration and
    thresholds are fitted on the patients of the other folds."""
    probability, called = np.empty(scores.shape), {rule: np.zeros(scores.shape, bool) for rule in RULES}
    for fold in np.unique(folds):
        for f in np.flatnonzero(scorable(aligned)):
            out = folds == fold
            learned = ~out & aligned.mask[:, f]
            for m in range(len(scores)):
                own = fit_finding(scores[m, learned, f], aligned.targets[learned, f], min_positives)
                probability[m, out, f] = sure = expit(own.slope * scores[m, out, f] + own.intercept)
                for rule in RULES if own.thresholds else ():
                    called[rule][m, out, f] = sure >= own.thresholds[rule]
    return probability, called


def _operating(aligned: Aligned, called: np.ndarray, draws: Draws, headline: tuple[str, ...]) -> dict[str, dict]:
    """MEASURES of the calls [units, findings], with intervals."""
    measured = {name: Ratios() for name in MEASURES}
    for f, key in enumerate(aligned.findings):
        if scorable(aligned)[f]:
            known = np.flatnonzero(aligned.mask[:, f])
            own = draws.by_patient(outcomes(aligned.targets[known, f], called[known, f]), known)
            total, drawn = own.sum(axis=0), draws.sums(own).T
            for name, measure in MEASURES.items():
                measured[name].add(key, measure(*total), measure(*drawn), int((measure(*own.T)[1] > 0).sum()))
    return {name: each.with_intervals(headline) for name, each in measured.items()}


def _comparison(estimates: Estimates, members: Sequence[str]) -> dict[str, object]:
    """The stack's paired differences from each other model, with verdicts; the best member by AUROC in these data."""
    found: dict[str, object] = {}
    for other in estimates:
        if other != ENSEMBLE:
            differences = {name: compare(estimates[ENSEMBLE][name], estimates[other][name]) for name in METRICS}
            found[f"ensemble_minus_{other}"] = differences | {"verdict": verdict(differences["auroc"]["macro"])}
    best = max(
        members, key=lambda name: np.mean([*estimates[name]["auroc"].only(_headline(estimates)).values.values()])
    )
    return {"best_member": best} | found


def _headline(estimates: Estimates) -> tuple[str, ...]:
    return estimates[ENSEMBLE]["auroc"].headline


def _parts(aligned: Aligned, stack: OutOfFold) -> dict[str, object]:
    """What the stack of all units is made of, and how much its folds matter."""
    core, across = stack.whole.core, stack.whole.across
    keys = [*aligned.findings]
    by_repeat = [_each(aligned, own, METRICS["auroc"]) for own in stack.by_repeat]
    return {
        "weights": {
            name: dict(zip(keys, own.tolist(), strict=True))
            for name, own in zip(aligned.members, core.weights, strict=True)
        },
        "strengths": dict(zip(("for_all", "by_finding"), core.strengths, strict=True)),
        "across": {
            key: dict(zip(keys, own.tolist(), strict=True)) for key, own in zip(keys, across.weights, strict=True)
        },
        "auroc_by_repeat": by_repeat,
    }


def _counts(aligned: Aligned, headline: tuple[str, ...]) -> dict[str, object]:
    keys = [*aligned.findings]
    positives, negatives = (aligned.targets & aligned.mask).sum(0), (~aligned.targets & aligned.mask).sum(0)
    return {
        "units": len(aligned.units),
        "patients": len(set(aligned.patients)),
        "members": len(aligned.members),
        "findings_scored": int(scorable(aligned).sum()),
        "findings_in_means": len(headline),
        "in_means": list(headline),
        "positives": dict(zip(keys, positives.tolist(), strict=True)),
        "negatives": dict(zip(keys, negatives.tolist(), strict=True)),
        "masked": dict(zip(keys, (~aligned.mask).sum(0).tolist(), strict=True)),
        "patients_of_rarer_class": rarer_patients(aligned),
    }
