"""The metrics once more, from the stored logits and labels alone, by another path than the one that made them.

Nothing here calls scikit-learn, `statistics.scored`, `statistics.metrics` or the bootstrap: AUROC comes from ranks (the
statistic of Mann and Whitney 1947), average precision from counts at each positive's score, studies from a grouped
table. What both paths share is the trained meta-learner, and the calibration, which is given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from scipy.stats import rankdata

from diagxnet.data.chexpert import five_of
from diagxnet.data.files import read_arrays
from diagxnet.data.prepared import read_findings
from diagxnet.ensemble.calibration import Calibration, FindingCalibration
from diagxnet.stacking.learners import apply_meta, load_meta

ROUNDING = 1e-12
"""Of an AUROC: two that differ by less are equal."""

BINS = 10
BANDS = [0, 40, 60, 80, np.inf]
BAND_NAMES = ["under_40", "40_to_59", "60_to_79", "80_and_over"]


NO_GROUP = ["", "nan", "none", "null", "na", "n/a", "<na>", "#n/a", "unknown"]
"""Cells of a further column that are in the group `unknown`, whatever their case."""


@dataclass(frozen=True)
class Units:
    """A split's images or studies. logits: by model [units, findings] float64. positive, negative: [units, findings]
    bool, both False where the label is unknown. frame: [units], columns patient and study, and of each of `attributes`
    the groups. keys: of the findings."""

    logits: dict[str, np.ndarray]
    positive: np.ndarray
    negative: np.ndarray
    frame: pd.DataFrame
    keys: tuple[str, ...]
    attributes: tuple[str, ...] = ("sex", "age", "view")

    def said_by(self, model: str) -> "Units":
        """The same, in which no label is known of a finding that `model` says nothing of (NaN)."""
        said = ~np.isnan(self.logits[model]).any(axis=0)
        return replace(self, positive=self.positive & said, negative=self.negative & said)

    def both_classes(self) -> list[int]:
        """Columns of the findings with a positive and a negative."""
        return np.flatnonzero(self.positive.any(axis=0) & self.negative.any(axis=0)).tolist()


def read_units(
    data: Path, models: Path, split: str, unit: str, columns: Mapping[str, str | list[float]] | None = None
) -> Units:
    """Reads `split` (val or test) from data/prepared and data/stacked; unit: `image` or `study`. columns: of test,
    further ones that make groups, `categories` or by the bounds between bins.

    The ensemble's logits of val are those of fits without the image's patient, which figures on val are of. Raises
    ValueError where logits, labels and manifest are not of the same images.
    """
    stacked = read_arrays(data / "stacked" / f"logits_{split}.npz")
    labels = read_arrays(data / "prepared" / f"labels_{split}.npz")
    frame = pd.read_csv(data / "prepared" / "manifest.csv", dtype=str, keep_default_na=False)
    frame = frame[frame["split"] == split].reset_index(drop=True)
    rows = frame["row"].astype(np.int64)
    if rows.tolist() != stacked["rows"].tolist() or rows.tolist() != labels["rows"].tolist():
        raise ValueError(f"logits_{split}.npz, labels_{split}.npz and manifest.csv are not of the same images")
    logits = {name: values for name, values in stacked.items() if name != "rows"}
    base = np.stack(list(logits.values()), axis=1)
    unsaid = np.isnan(base)  # where a table of predictions lacks a finding, the others' mean stands for it
    if unsaid.any():
        base = np.where(unsaid, np.nanmean(base, axis=1, keepdims=True), base).astype(np.float32)
    logits["average"] = sum(base.transpose(1, 0, 2)) / np.float32(len(logits))
    if split == "val":
        left_out = read_arrays(data / "ensemble_val.npz")
        if rows.tolist() != left_out["rows"].tolist():
            raise ValueError("ensemble_val.npz and manifest.csv are not of the same images")
        logits["ensemble"] = left_out["logits"]
    else:
        logits["ensemble"] = apply_meta(load_meta(models / "meta"), torch.from_numpy(base)).numpy()
    positive = labels["mask"] & (labels["targets"] > 0)
    negative = labels["mask"] & ~positive
    frame["view"] = [
        f"{view}_{projection.lower()}" if view == "frontal" and projection else view
        for view, projection in zip(frame["view"], frame["projection"], strict=True)
    ]
    ages = pd.to_numeric(frame["age"], errors="coerce")
    frame["age"] = pd.cut(ages, BANDS, right=False, labels=BAND_NAMES).astype(object).fillna("unknown")
    for name, rule in (columns or {}).items():
        frame[f"by {name}"] = _grouped(data / "prepared" / "groups.csv", name, rule)
    logits = {name: values.astype(np.float64) for name, values in logits.items()}
    attributes = (*Units.attributes, *(f"by {name}" for name in columns or {}))
    units = Units(logits, positive, negative, frame, read_findings(data / "prepared").keys, attributes)
    return units if unit == "image" else _studies(units)


def _grouped(path: Path, name: str, rule: str | list[float]) -> pd.Series:
    """The groups of the column `name` of the table at `path`, an image of test a row."""
    cells = pd.read_csv(path, dtype={name: str}, usecols=[name], keep_default_na=False)[name].str.strip()
    cells = cells.where(~cells.str.lower().isin(NO_GROUP))
    if rule == "categories":
        return cells.fillna("unknown")
    ends = [f"{bound:g}" for bound in rule]
    labels = [f"under_{ends[0]}", *("_to_".join(pair) for pair in pairwise(ends)), f"{ends[-1]}_and_over"]
    edges = [-np.inf, *rule, np.inf]
    return pd.cut(cells.astype(float), edges, right=False, labels=labels).astype(object).fillna("unknown")


def _studies(units: Units) -> Units:
    studies = units.frame["study"]

    def grouped(values: np.ndarray) -> pd.core.groupby.DataFrameGroupBy:
        return pd.DataFrame(values).groupby(studies, sort=False)

    positive = grouped(units.positive).any().to_numpy()
    known = grouped(units.positive | units.negative).any().to_numpy()
    frame = units.frame.groupby(studies, sort=False).first()
    for name in units.attributes[2:]:  # sex and age are the first image's
        frame.loc[units.frame.groupby(studies, sort=False)[name].nunique() > 1, name] = "mixed"
    logits = {name: grouped(values).mean().to_numpy() for name, values in units.logits.items()}
    frame = frame.reset_index(drop=True)
    return Units(logits, positive, known & ~positive, frame, units.keys, units.attributes)


def recompute(val: Units, test: Units, calibration: Calibration, min_positives: int) -> dict[str, float | str]:
    """Figures of metrics/evaluation.json by dotted key: of all models but for intervals, the differences between
    models, and the counts. Subgroups are of `subgroup_figures`. min_positives: see `in_means`."""
    figures: dict[str, float] = {}
    keys = test.keys
    for model, logits in test.logits.items():
        own, said = calibration[model], test.said_by(model)
        both, headline = said.both_classes(), in_means(said, min_positives)
        found = [_calibrated(test, model, own, key) for key in keys]
        calibrated, raw = np.stack(found, axis=1), expit(logits)
        values: dict[str, dict[str, float]] = {}
        for f in both:
            key, positive, negative = keys[f], test.positive[:, f], test.negative[:, f]
            pair = logits[positive, f], logits[negative, f]
            values.setdefault("auroc", {})[key] = mann_whitney(*pair)
            values.setdefault("auprc", {})[key] = average_precision(*pair)
            values.setdefault("auprc.prevalence", {})[key] = float(positive.sum() / (positive | negative).sum())
            for name, probability in (("", calibrated), (".uncalibrated", raw)):
                pair = probability[positive, f], probability[negative, f]
                values.setdefault(f"brier{name}", {})[key] = squared_distance(*pair)
                values.setdefault(f"ece{name}", {})[key] = calibration_error(*pair)
            pair = calibrated[positive, f], calibrated[negative, f]
            for rule, threshold in (own[key].thresholds or {}).items():
                for name, value in rates(*pair, threshold).items():
                    values.setdefault(f"{rule}.{name}", {})[key] = value
        for name, per_finding in values.items():
            figures |= {f"{model}.{name}.{key}": value for key, value in with_means(per_finding, headline).items()}
        for name, metric in (("auroc", mann_whitney), ("auprc", average_precision)):
            if on_val := _of_findings(val, model, metric):
                figures[f"{model}.val.{name}"] = fmean(on_val.values())
    headline = in_means(test, min_positives)
    figures |= differences(figures, base_models(test), best_of_val(val), headline)
    return figures | counts(test) | {"counts.findings_in_means": len(headline)}


def _calibrated(units: Units, model: str, own: Mapping[str, FindingCalibration], key: str) -> np.ndarray:
    """The probability [units] of a finding: the least of those on the path from it to the top of its hierarchy, but for
    those above it that nothing was known of when they were to be calibrated."""
    path = [key]
    while (parent := own[path[-1]].parent) is not None:
        path.append(parent)
    bounds = [key, *(each for each in path[1:] if own[each].fit != "none")]
    slopes, intercepts = (
        np.array([getattr(own[each], part) for each in bounds], float) for part in ("slope", "intercept")
    )
    places = [units.keys.index(each) for each in bounds]
    return expit(slopes * units.logits[model][:, places] + intercepts).min(axis=1)


def in_means(units: Units, min_positives: int) -> list[str]:
    """Keys of the findings that means are over: with so many positives and negatives, of two patients or more; where
    there is none, any number; where there is none either, one patient."""
    both = units.both_classes()
    several = [f for f in both if _least(units, f)[1] >= 2]
    chosen = [f for f in several if _least(units, f)[0] >= min_positives] or several or both
    return [units.keys[f] for f in chosen]


def _least(units: Units, finding: int) -> tuple[int, int]:
    """The units, and the patients, of the rarer class."""
    classes = [units.frame["patient"][own[:, finding]] for own in (units.positive, units.negative)]
    return min(map(len, classes)), min(own.nunique() for own in classes)


def best_of_val(val: Units) -> str:
    """The base model with the highest macro AUROC on val, the first of equals."""
    whole = [model for model in base_models(val) if not np.isnan(val.logits[model]).any()]
    found = {model: _of_findings(val, model, mann_whitney) for model in whole}
    macros = {model: fmean(aurocs.values()) if aurocs else 0.0 for model, aurocs in found.items()}
    return max(macros, key=macros.__getitem__)


def base_models(units: Units) -> list[str]:
    return [name for name in units.logits if name not in ("average", "ensemble")]


def differences(
    figures: Mapping[str, float], base: Sequence[str], best: str, headline: Sequence[str]
) -> dict[str, float | str]:
    """The ensemble's AUROC and AUPRC minus those of each other, on how many findings it is ahead, and of which.

    figures: by dotted key, of every model. base: the base models; best: the one that val prefers. headline: findings
    with a verdict.
    """
    result: dict[str, float | str] = {"comparison.best_base": best}
    others = {"best_base": best, "average": "average"} | {model: model for model in base}
    for name, other in others.items():
        for key, value in figures.items():
            model, _, metric = key.partition(".")
            if model == "ensemble" and metric.startswith(("auroc.", "auprc.")) and ".prevalence" not in metric:
                theirs = f"{other}.{metric}"
                if theirs in figures:
                    ours = f"comparison.ensemble_minus_{name}.{metric}.difference"
                    result[ours] = value - figures[theirs]
        result |= _mean_differences(result, name, headline)
    ours, theirs = (
        {key: figures[name] for key in headline if (name := f"{model}.auroc.per_finding.{key}") in figures}
        for model in ("ensemble", best)
    )
    ahead = [ours[key] - theirs[key] > ROUNDING for key in headline]
    return result | {"comparison.findings_compared": len(ahead), "comparison.findings_ahead": sum(ahead)}


def _mean_differences(result: Mapping[str, float], name: str, headline: Sequence[str]) -> dict[str, float]:
    """Means of the ensemble's differences from `name` over findings of both."""
    found = {}
    for metric in ("auroc", "auprc"):
        place = f"comparison.ensemble_minus_{name}.{metric}"
        keys = [key for key in headline if f"{place}.per_finding.{key}.difference" in result]
        by_key = {key: result[f"{place}.per_finding.{key}.difference"] for key in keys}
        means = with_means(by_key, keys)
        found |= {f"{place}.{mean}.difference": means[mean] for mean in ("macro", "chexpert5") if mean in means}
    return found


def counts(test: Units) -> dict[str, float]:
    positives, negatives = test.positive.sum(axis=0), test.negative.sum(axis=0)
    result = {"counts.units": len(test.frame), "counts.patients": test.frame["patient"].nunique()}
    result["counts.findings_scored"] = int(((positives > 0) & (negatives > 0)).sum())
    for f, key in enumerate(test.keys):
        result[f"counts.positives.{key}"], result[f"counts.negatives.{key}"] = int(positives[f]), int(negatives[f])
        result[f"counts.masked.{key}"] = len(test.frame) - int(positives[f]) - int(negatives[f])
    return result


def subgroup_figures(test: Units, calibration: Calibration, min_positives: int) -> dict[str, float]:
    """AUROC by model, attribute and group, of the findings with so many known positives and negatives in the group; the
    ensemble's rates at Youden's threshold there; and what its figures differ by from those of the rest."""
    figures: dict[str, float] = {}
    for attribute in test.attributes:
        for group in test.frame[attribute].unique():
            members = (test.frame[attribute] == group).to_numpy()
            part, rest = _part(test, members), _part(test, ~members)
            place = f"subgroups.{attribute.removeprefix('by ')}.{group}"
            for model in test.logits:
                if aurocs := _of_findings(part, model, mann_whitney, min_positives, patients=2):
                    means = with_means(aurocs, list(aurocs))
                    figures |= {f"{model}.{place}.auroc.{key}": value for key, value in means.items()}
                    figures[f"{model}.{place}.units"] = len(part.frame)
            here, there = (_of_ensemble(each, calibration, min_positives) for each in (part, rest))
            for name, own in here.items():
                if name != "auroc":
                    means = with_means(own, list(own))
                    figures |= {f"ensemble.{place}.{name}.{key}": value for key, value in means.items()}
                gaps = {key: value - there[name][key] for key, value in own.items() if key in there[name]}
                prefix = f"ensemble.{place}.minus_rest.{name}"
                figures |= {f"{prefix}.per_finding.{key}.difference": gap for key, gap in gaps.items()}
                if gaps:
                    figures[f"{prefix}.macro.difference"] = fmean(gaps.values())
    return figures


def _part(units: Units, chosen: np.ndarray) -> Units:
    logits = {model: values[chosen] for model, values in units.logits.items()}
    labels = units.positive[chosen], units.negative[chosen]
    return Units(logits, *labels, units.frame[chosen], units.keys, units.attributes)


def _of_ensemble(part: Units, calibration: Calibration, min_positives: int) -> dict[str, dict[str, float]]:
    """AUROC, and sensitivity and false positive rate at Youden's threshold, by finding."""
    found = {"auroc": _of_findings(part, "ensemble", mann_whitney, min_positives, patients=2)}
    found |= {"sensitivity": {}, "false_positive_rate": {}}
    for key in found["auroc"]:
        own, f = calibration["ensemble"][key], part.keys.index(key)
        if own.thresholds:
            probability = _calibrated(part, "ensemble", calibration["ensemble"], key)
            pair = probability[part.positive[:, f]], probability[part.negative[:, f]]
            at_threshold = rates(*pair, own.thresholds["youden"])
            found["sensitivity"][key] = at_threshold["sensitivity"]
            found["false_positive_rate"][key] = 1 - at_threshold["specificity"]
    return found


def _of_findings(
    units: Units,
    model: str,
    metric: Callable[[np.ndarray, np.ndarray], float],
    least: int = 1,
    patients: int = 1,
) -> dict[str, float]:
    """`metric` by finding key, of the findings with at least `least` positives and negatives of so many patients."""
    result, units = {}, units.said_by(model)
    for f, key in enumerate(units.keys):
        positive, negative = units.positive[:, f], units.negative[:, f]
        if all(found >= wanted for found, wanted in zip(_least(units, f), (max(least, 1), patients), strict=True)):
            result[key] = metric(units.logits[model][positive, f], units.logits[model][negative, f])
    return result


def with_means(per_finding: Mapping[str, float], headline: Sequence[str]) -> dict[str, float]:
    """By `per_finding.KEY`, and the means over `headline`: `macro`, and `chexpert5` over those of the five."""
    result = {f"per_finding.{key}": value for key, value in per_finding.items()}
    for name, keys in {"macro": headline, "chexpert5": five_of(headline)}.items():
        if values := [per_finding[key] for key in keys if key in per_finding]:
            result[name] = fmean(values)
    return result


def mann_whitney(positive: np.ndarray, negative: np.ndarray) -> float:
    """AUROC from the ranks of scores [positives] among all; ties share their mean rank."""
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def average_precision(positive: np.ndarray, negative: np.ndarray) -> float:
    """The mean over positives of the precision among all that score at least as high."""
    found, false = np.sort(positive), np.sort(negative)
    above = len(found) - np.searchsorted(found, positive, side="left")
    wrong = len(false) - np.searchsorted(false, positive, side="left")
    return float((above / (above + wrong)).mean())


def squared_distance(positive: np.ndarray, negative: np.ndarray) -> float:
    """Brier score, from the probabilities of the positives and of the negatives."""
    return float((((1 - positive) ** 2).sum() + (negative**2).sum()) / (len(positive) + len(negative)))


def calibration_error(positive: np.ndarray, negative: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width, the last of which holds 1."""
    total = 0.0
    for bin_ in range(BINS):
        inside = [values[np.minimum(np.floor(values * BINS), BINS - 1) == bin_] for values in (positive, negative)]
        total += abs(len(inside[0]) - sum(values.sum() for values in inside))
    return float(total / (len(positive) + len(negative)))


def rates(positive: np.ndarray, negative: np.ndarray, threshold: float) -> dict[str, float]:
    """What calling everything from `threshold` up positive comes to."""
    found, wrong = int((positive >= threshold).sum()), int((negative >= threshold).sum())
    precision, recall = found / (found + wrong) if found + wrong else 0.0, found / len(positive)
    missed, left = len(positive) - found, len(negative) - wrong
    return {
        "sensitivity": recall,
        "specificity": 1 - wrong / len(negative),
        "precision": precision,
        "npv": left / (left + missed) if left + missed else 0.0,
        "f1": 2 * precision * recall / (precision + recall) if found else 0.0,
    }
