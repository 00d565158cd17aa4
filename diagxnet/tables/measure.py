"""What is measured of members, their means, their stack and the readers: content of metrics.json."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from diagxnet.ensemble.calibration import RULES
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.calibrating import fit_finding
from diagxnet.statistics.comparison import verdict
from diagxnet.statistics.metrics import auroc, ece, means, per_finding, prevalence
from diagxnet.statistics.operating import MEASURES, Ratios, brier_scores, outcomes
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import METRICS, Estimates, compare, estimate, with_intervals
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
    """scored: the members, then COMBINED, the stack's scores out of fold. evaluation: content of metrics.json.
    headline: keys of the findings that means are over."""

    aligned: Aligned
    scored: Scored
    evaluation: dict
    headline: tuple[str, ...]


def judge(aligned: Aligned, settings: Settings, *, shown: bool = False) -> Judged:
    """Stacks the members and measures everything; InputError where there are too few patients for the folds.

    shown: whether a bar or line tells how far it is.
    """
    labels = aligned.targets, aligned.mask, aligned.patients
    own = {"folds": settings.folds, "repeats": settings.repeats, "seed": settings.seed}
    stack = out_of_fold(inputs_of(aligned.log_odds), *labels, **own, shown=shown)
    scores = np.concatenate([aligned.log_odds, np.stack([*means_of(aligned), stack.scores])])
    models = (*aligned.members, *COMBINED)
    scored = Scored(models, scores, *labels, {}, np.array(aligned.units, object), aligned.findings)
    headline = scored.headline(settings.min_positives)
    drawn = {"resamples": settings.bootstrap, "seed": settings.seed}
    estimates = estimate(scored, **drawn, min_positives=settings.min_positives)
    draws = Draws.of(scored.patients, **drawn)
    probability, called = _calibrated(scored, stack.folds, settings.min_positives)
    rates = means(prevalence(scored), headline)
    evaluation: dict = {"findings": aligned.findings.titles}
    for m, model in enumerate(models):
        evaluation[model] = {
            "auroc": with_intervals(estimates[model]["auroc"]),
            "auprc": with_intervals(estimates[model]["auprc"]) | {"prevalence": rates},
            "brier": brier_scores(scored, probability[m], draws, headline),
            "ece": means(per_finding(scored, probability[m], ece), headline),
        }
        for rule in RULES:
            evaluation[model][rule] = _operating(scored, called[rule][m], draws, headline)
    evaluation["comparison"] = _comparison(estimates, aligned.members)
    evaluation["readers"] = readers_figures(scored, aligned.readers, headline, **drawn)
    evaluation["stack"] = _parts(scored, aligned.members, stack)
    evaluation["counts"] = _counts(scored, headline)
    evaluation["settings"] = vars(settings)
    evaluation["notes"] = aligned.notes
    return Judged(aligned, scored, evaluation, headline)


def means_of(aligned: Aligned) -> tuple[np.ndarray, np.ndarray]:
    """Log odds [units, findings] of the members' mean probability, and of their mean share of rows below."""
    ranks = np.apply_along_axis(shares, 1, aligned.log_odds)
    probability, rank = (each.mean(axis=0).clip(CERTAIN, 1 - CERTAIN) for each in (aligned.probability, ranks))
    return logit(probability), logit(rank)


def _calibrated(scored: Scored, folds: np.ndarray, min_positives: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Probabilities [models, units, findings], and by rule the calls [models, units, findings] bool: calibration and
    thresholds are fitted on the patients of the other folds."""
    shape = scored.logits.shape
    probability, called = np.full(shape, 0.5), {rule: np.zeros(shape, bool) for rule in RULES}
    for fold in np.unique(folds):
        out = folds == fold
        for f in np.flatnonzero(scored.scorable()):
            learned = ~out & scored.mask[:, f]
            for m, logits in enumerate(scored.logits[:, :, f]):
                own = fit_finding(logits[learned], scored.targets[learned, f], min_positives)
                probability[m, out, f] = sure = expit(own.slope * logits[out] + own.intercept)
                for rule in RULES if own.thresholds else ():
                    called[rule][m, out, f] = sure >= own.thresholds[rule]
    return probability, called


def _operating(scored: Scored, called: np.ndarray, draws: Draws, headline: tuple[str, ...]) -> dict[str, dict]:
    """MEASURES of the calls [units, findings], with intervals."""
    measured = {name: Ratios() for name in MEASURES}
    for f in np.flatnonzero(scored.scorable()):
        known = scored.known(f)
        own = draws.by_patient(outcomes(scored.targets[known, f], called[known, f]), known)
        total, drawn = own.sum(axis=0), draws.sums(own).T
        for name, measure in MEASURES.items():
            patients = int((measure(*own.T)[1] > 0).sum())
            measured[name].add(scored.keys[f], measure(*total), measure(*drawn), patients)
    return {name: each.with_intervals(headline) for name, each in measured.items()}


def _comparison(estimates: Estimates, members: Sequence[str]) -> dict[str, object]:
    """The stack's paired differences from each other model, with verdicts; the best member by AUROC in these data."""
    found: dict[str, object] = {}
    for other in estimates:
        if other != ENSEMBLE:
            differences = {name: compare(estimates[ENSEMBLE][name], estimates[other][name]) for name in METRICS}
            found[f"ensemble_minus_{other}"] = differences | {"verdict": verdict(differences["auroc"]["macro"])}
    over = estimates[ENSEMBLE]["auroc"].headline
    best = max(members, key=lambda name: sum(estimates[name]["auroc"].values[key] for key in over))
    return {"best_member": best} | found


def _parts(scored: Scored, members: Sequence[str], stack: OutOfFold) -> dict[str, object]:
    """What the stack of all units is made of, and how much its folds matter."""
    core, across = stack.whole.core, stack.whole.across

    def by_key(values: np.ndarray) -> dict[str, float]:
        return dict(zip(scored.keys, values.tolist(), strict=True))

    return {
        "weights": {name: by_key(own) for name, own in zip(members, core.weights, strict=True)},
        "strengths": dict(zip(("for_all", "by_finding"), core.strengths, strict=True)),
        "across": {key: by_key(own) for key, own in zip(scored.keys, across.weights, strict=True)},
        "auroc_by_repeat": [per_finding(scored, own, auroc) for own in stack.by_repeat],
    }


def _counts(scored: Scored, headline: tuple[str, ...]) -> dict[str, object]:
    counted = (*scored.counts(), (~scored.mask).sum(axis=0), scored.rarer_patients())
    names = ("positives", "negatives", "masked", "patients_of_rarer_class")
    return {
        "units": len(scored.patients),
        "patients": len(set(scored.patients)),
        "members": len(scored.models) - len(COMBINED),
        "findings_scored": int(scored.scorable().sum()),
        "findings_in_means": len(headline),
        **{name: dict(zip(scored.keys, own.tolist(), strict=True)) for name, own in zip(names, counted, strict=True)},
    }
