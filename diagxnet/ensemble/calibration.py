"""Calibration and decision thresholds, fitted on val: what turns a logit into a probability and a yes or no.

Class weights and label smoothing shift a network's logits, so that their sigmoid is no probability. Platt's slope and
intercept per finding and model (Platt 1999, with his smoothed targets, which keep the fit finite on separable data)
mend that; the thresholds are on the calibrated probability.

models/calibration.json, for whoever turns logits into probabilities:

    {"version": 1,
     "unit": "image" or "study", what was scored when this was fitted
     "findings": keys of the findings, in the order of the logits' last axis
     "models": {MEMBER | "average" | "ensemble": {finding:
         {"slope": a, "intercept": b,     probability = 1 / (1 + exp(-(a * logit + b)))
          "fit": "platt"      both fitted
                 "flat"       the model ranked val no better than chance: the least slope, 0.01, and a fitted intercept
                 "intercept"  fewer positives or negatives on val than asked for: slope 1 and a fitted intercept
                 "none"       no label known on val: slope 1, intercept 0
          "positives": n, "negatives": n,  known on val
          "thresholds": {"youden": t, "specificity_90": t}}}}}   null with one class on val

A finding is called present where its calibrated probability is at least the threshold. `youden` maximises sensitivity +
specificity - 1 on val, `specificity_90` sensitivity where specificity is at least 0.9.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json
from diagxnet.data.findings import KEYS

VERSION = 1
SPECIFICITY = 0.9
RULES = ("youden", "specificity_90")


@dataclass(frozen=True)
class FindingCalibration:
    """One finding of one model; fields as in models/calibration.json."""

    slope: float
    intercept: float
    fit: str
    positives: int
    negatives: int
    thresholds: dict[str, float] | None


Calibration = dict[str, dict[str, FindingCalibration]]
"""Calibrations by model and finding key."""


def probabilities(logits: np.ndarray, calibration: dict[str, FindingCalibration]) -> np.ndarray:
    """Calibrated probabilities [..., findings] float64 of one model's `logits` [..., findings], findings as in KEYS."""
    slopes = np.array([calibration[key].slope for key in KEYS])
    intercepts = np.array([calibration[key].intercept for key in KEYS])
    return expit(slopes * logits.astype(np.float64) + intercepts)


def write_calibration(path: Path, calibration: Calibration, unit: str) -> None:
    models = {name: {key: vars(each) for key, each in findings.items()} for name, findings in calibration.items()}
    write_json(path, {"version": VERSION, "unit": unit, "findings": list(KEYS), "models": models})


def read_calibration(path: Path) -> Calibration:
    """The content of models/calibration.json; InputError where it is missing or of another version."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no calibration here (make it with: dvc repro evaluate)") from None
    if content.get("version") != VERSION or tuple(content.get("findings", ())) != KEYS:
        raise InputError(f"{path}: written by another version of this program (run: dvc repro evaluate)")
    return {
        model: {key: FindingCalibration(**each) for key, each in findings.items()}
        for model, findings in content["models"].items()
    }
