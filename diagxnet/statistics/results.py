"""Everything that is measured, in memory: what the metrics files, plots, report and model card are written from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import five_of
from diagxnet.ensemble.calibration import NOT_LEARNED, Calibration, not_learned, probabilities
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.calibrating import fit_calibration
from diagxnet.statistics.comparison import best_base, comparison, val_figures
from diagxnet.statistics.history import history_figures, indicators
from diagxnet.statistics.intervals import unbounded_interval
from diagxnet.statistics.metrics import brier, ece, means, per_finding, prevalence
from diagxnet.statistics.net_benefit import DecisionCurve, decision_curves
from diagxnet.statistics.operating import brier_scores, operating_points
from diagxnet.statistics.recalibration import chance_ece, recalibration
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.subgroups import add_disparities, subgroups
from diagxnet.statistics.uncertainty import Estimates, estimate, with_intervals


@dataclass(frozen=True)
class Results:
    """Fields: test: what was scored. calibration: fitted on val. raw, calibrated: probabilities on test [models,
    units, findings]. estimates: AUROC and average precision on test with resamples.
    decision_curves: the ensemble's, by finding key. evaluation: content of
    metrics/evaluation.json. indicators: rows of the guide's success indicators. histories: training_history.json by
    training. unit: `image` or `study`."""

    unit: str
    test: Scored
    calibration: Calibration
    raw: np.ndarray
    calibrated: np.ndarray
    estimates: Estimates
    decision_curves: dict[str, DecisionCurve]
    evaluation: dict
    indicators: list[dict]
    histories: dict[str, dict]


def measure(
    val: Scored,
    test: Scored,
    histories: dict[str, dict],
    scoring: Scoring,
    *,
    left_out: Scored,
    not_learned: Collection[str],
    parents: Mapping[str, str] | None = None,
    studies: int,
    dropped: int,
) -> Results:
    """Fits calibration on `val` and measures everything on `test`; see `measure_test`.

    left_out: val, with the ensemble's logits from fits without the unit's patient, which the figures on val are of.
    not_learned: keys of the findings without a known label in train. parents: see `fit_calibration`.
    """
    calibration = fit_calibration(val, scoring.min_positives, not_learned, parents)
    on_val = val_figures(left_out)
    best = best_base([name for name in test.members if name not in test.lacks], on_val)
    results = measure_test(calibration, best, test, histories, scoring, studies=studies, dropped=dropped)
    for model, own in on_val.items():
        results.evaluation[model]["val"] = own
    return results


def measure_test(
    calibration: Calibration,
    best: str,
    test: Scored,
    histories: dict[str, dict],
    scoring: Scoring,
    *,
    studies: int,
    dropped: int,
) -> Results:
    """Measures everything on `test`, with a calibration and thresholds as they are.

    best: the base model that val prefers, which is compared with. studies: in test. dropped: images that could not be
    read, in all splits. Raises InputError where no finding has both classes in test.
    """
    if not test.scorable().any():
        raise InputError(
            "test: no finding has both a positive and a negative label, so nothing can be measured "
            "(use a larger valid.csv, another data.split_seed, or data.blank: negative)"
        )
    raw = np.stack([_sigmoid(logits) for logits in test.logits])
    calibrated = np.stack([probabilities(test.logits[m], calibration[model]) for m, model in enumerate(test.models)])
    estimates = estimate(
        test, resamples=scoring.bootstrap, seed=scoring.seed, min_positives=scoring.min_positives, shown=True
    )
    draws = Draws.of(test.patients, resamples=scoring.bootstrap, seed=scoring.seed)
    curves = decision_curves(test, calibrated[-1], draws)
    by_group, too_small = subgroups(test, estimates, draws, scoring.min_positives)
    add_disparities(by_group, test, calibrated[-1], calibration["ensemble"], draws, scoring.min_positives)
    evaluation: dict = {}
    seed = scoring.seed
    for m, model in enumerate(test.models):
        own = test.of(model)
        if not own.scorable().any():
            raise InputError(
                f"{model}: no finding of its table has both classes in test (leave it out: train without it)"
            )
        headline = own.headline(scoring.min_positives)
        evaluation[model] = {
            "auroc": with_intervals(estimates[model]["auroc"]),
            "auprc": with_intervals(estimates[model]["auprc"]) | {"prevalence": means(prevalence(own), headline)},
            "brier": brier_scores(own, calibrated[m], draws, headline)
            | {"uncalibrated": means(per_finding(own, raw[m], brier), headline)},
            "ece": means(per_finding(own, calibrated[m], ece), headline)
            | {"uncalibrated": means(per_finding(own, raw[m], ece), headline)}
            | {
                "if_calibrated": means(
                    per_finding(own, calibrated[m], lambda _, sure: chance_ece(sure, seed)), headline
                )
            },
            "calibration": {
                name: with_intervals(found, unbounded_interval)
                for name, found in recalibration(own, calibrated[m], draws, min_positives=scoring.min_positives).items()
            },
            **operating_points(own, calibrated[m], calibration[model], draws, headline, scoring.prevalence),
            "subgroups": by_group[model],
        }
    evaluation["comparison"] = comparison(estimates, best)
    evaluation["histories"] = {name: history_figures(history) for name, history in histories.items()}
    rows = indicators(evaluation["histories"], evaluation["comparison"])
    evaluation["indicators"] = {"met": sum(row["met"] for row in rows), "of": len(rows)}
    evaluation["findings"] = test.findings.titles
    evaluation["counts"] = _counts(calibration, test, studies, dropped, scoring.min_positives)
    learned = [key not in not_learned(calibration) for key in test.keys]
    evaluation["one_class"] = {
        "val": _one_class_on_val(calibration),
        "test": _class_counts(test, ~test.scorable() & learned),
    }
    evaluation["few"] = _flagged(test, scoring.min_positives)
    evaluation["subgroups_too_small"] = too_small
    if test.lacks:
        evaluation["lacks"] = {model: list(keys) for model, keys in test.lacks.items()}
    return Results(scoring.unit, test, calibration, raw, calibrated, estimates, curves, evaluation, rows, histories)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))


def _counts(calibration: Calibration, test: Scored, studies: int, dropped: int, min_positives: int) -> dict:
    positives, negatives = test.counts()
    scorable, five = test.scorable(), five_of(test.keys)
    return {
        "units": len(test.patients),
        "studies": studies,
        "patients": len(set(test.patients)),
        "findings_scored": int(scorable.sum()),
        "findings_flagged": len(_flagged(test, min_positives)),
        "findings_in_means": len(test.headline(min_positives)),
        "findings_not_learned": len(not_learned(calibration)),
        **({"chexpert5_scored": sum(bool(scorable[test.keys.index(key)]) for key in five)} if five else {}),
        "dropped_images": dropped,
        "positives": dict(zip(test.keys, positives.tolist(), strict=True)),
        "negatives": dict(zip(test.keys, negatives.tolist(), strict=True)),
        "masked": dict(zip(test.keys, (~test.mask).sum(axis=0).tolist(), strict=True)),
        "patients_of_rarer_class": dict(zip(test.keys, test.rarer_patients().tolist(), strict=True)),
    }


def _one_class_on_val(calibration: Calibration) -> dict[str, dict[str, int]]:
    fitted = calibration["ensemble"]
    return {
        key: {"positives": own.positives, "negatives": own.negatives}
        for key, own in fitted.items()
        if own != NOT_LEARNED and not (own.positives and own.negatives)
    }


def _flagged(scored: Scored, min_positives: int) -> dict[str, dict[str, int]]:
    """Findings with both classes, but without `enough` of one."""
    return _class_counts(scored, scored.scorable() & ~scored.enough(min_positives))


def _class_counts(scored: Scored, chosen: np.ndarray) -> dict[str, dict[str, int]]:
    positives, negatives = scored.counts()
    return {
        scored.keys[f]: {"positives": int(positives[f]), "negatives": int(negatives[f])} for f in np.flatnonzero(chosen)
    }
