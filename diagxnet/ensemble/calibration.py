"""Calibration and decision thresholds, fitted on val: what turns a logit into a probability and a yes or no.

Class weights and label smoothing shift a network's logits, so that their sigmoid is no probability. Platt's slope and
intercept per finding and model (Platt 1999, with his smoothed targets, which keep the fit finite on separable data)
mend that; the thresholds are on the calibrated probability.

models/calibration.json, for whoever turns logits into probabilities:

    {"version": 2,
     "unit": "image" or "study", what was scored when this was fitted
     "best_base": the member of the highest macro AUROC on val, by that unit
     "findings": keys of the findings, in the order of the logits' last axis
     "models": {MEMBER | "average" | "ensemble": {finding:
         {"slope": a, "intercept": b,     probability = 1 / (1 + exp(-(a * logit + b)))
          "fit": "platt"      both fitted
                 "flat"       the model ranked val no better than chance: the least slope, 0.01, and a fitted intercept
                 "intercept"  fewer positives or negatives on val than asked for: slope 1 and a fitted intercept;
                              of stages.recalibrate: the slope as it was
                 "none"       no label known on val: slope 1, intercept 0
                 "kept"      of stages.recalibrate: as it was for the models' own hospital, and its counts
                 "not_learned"  no label known in train: slope and intercept null, for there is no probability
          "positives": n, "negatives": n,  known on val
          "thresholds": {"youden": t, "specificity_90": t},   null with fewer than two classes on val
          "parent": key}}}}   under `data.hierarchy: conditional` alone, of a finding that another includes

A finding's probability is never above its parent's: after calibration, which treats each finding by itself, it is
lowered to it (`data.hierarchy.cap`), and its thresholds are of what it is then. A parent whose fit is "none" bounds
nothing; the next above it does.

A finding is called present where its calibrated probability is at least the threshold. `youden` maximises sensitivity +
specificity - 1 on val, `specificity_90` sensitivity where specificity is at least 0.9.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json
from diagxnet.data.hierarchy import cap, next_above

VERSION = 2
SPECIFICITY = 0.9
RULES = ("youden", "specificity_90")


@dataclass(frozen=True)
class FindingCalibration:
    """One finding of one model; fields as in models/calibration.json."""

    slope: float | None
    intercept: float | None
    fit: str
    positives: int
    negatives: int
    thresholds: dict[str, float] | None
    parent: str | None = None


NOT_LEARNED = FindingCalibration(None, None, "not_learned", 0, 0, None)
"""Of a finding without a known label in train."""

UNCALIBRATED, KEPT = "none", "kept"

Calibration = dict[str, dict[str, FindingCalibration]]
"""Calibrations by model and finding key, in the order of the logits' last axis."""


def not_learned(calibration: Calibration) -> tuple[str, ...]:
    """Keys of the findings that the models never learned, and say nothing of."""
    return tuple(key for key, own in calibration["ensemble"].items() if own == NOT_LEARNED)


def probabilities(logits: np.ndarray, calibration: dict[str, FindingCalibration]) -> np.ndarray:
    """Calibrated probabilities [..., findings] float64 of one model's `logits` [..., findings], findings as in
    `calibration`.

    NaN for a finding that was not learned. No more than the parent's, where a finding has one.
    """
    slopes = np.array([own.slope for own in calibration.values()], float)
    intercepts = np.array([own.intercept for own in calibration.values()], float)
    return cap(expit(slopes * logits.astype(np.float64) + intercepts), parents_of(calibration), list(calibration))


def parents_of(calibration: Mapping[str, FindingCalibration]) -> dict[str, str]:
    """The key of the finding that bounds another, by the other's: its parent, or where no label calibrated that one,
    whose probability is none then, the next above it."""
    parents = {key: own.parent for key, own in calibration.items() if own.parent is not None}
    return next_above(parents, {key for key, own in calibration.items() if own.fit == UNCALIBRATED})


def write_calibration(
    path: Path, calibration: Calibration, unit: str, best_base: str, further: Mapping[str, Any] | None = None
) -> None:
    """Writes `calibration` in the form above, with the keys of `further` besides."""
    models = {name: {key: _fields(each) for key, each in findings.items()} for name, findings in calibration.items()}
    known = {"version": VERSION, "unit": unit, "best_base": best_base, "findings": list(calibration["ensemble"])}
    write_json(path, known | {"models": models} | dict(further or {}))


def _fields(calibration: FindingCalibration) -> dict[str, Any]:
    """Without a parent where there is none, as files have it that no hierarchy shaped."""
    return {name: value for name, value in vars(calibration).items() if name != "parent" or value is not None}


def read_calibration(path: Path) -> Calibration:
    """The content of models/calibration.json; InputError where it is missing or of another version."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no calibration here (make it with: dvc repro evaluate)") from None
    if content.get("version") != VERSION:
        raise InputError(f"{path}: written by another version of this program (run: dvc repro evaluate)")
    return calibration_of(content)


def calibration_of(content: Mapping[str, Any]) -> Calibration:
    """What the `content` of such a file says of each model and finding."""
    return {
        model: {key: FindingCalibration(**own[key]) for key in content["findings"]}
        for model, own in content["models"].items()
    }
