"""The shortcut probe: what age, sex, view and image size alone predict of each finding.

A model that is hardly better may have learned who is X-rayed how, and not what the film shows (Zech et al. 2018,
doi:10.1371/journal.pmed.1002683; DeGrave et al. 2021, doi:10.1038/s42256-021-00338-7).
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diagxnet.data.findings import Findings
from diagxnet.data.hierarchy import POSITIVE
from diagxnet.data.prepared import Labels, read_findings, read_labels, read_manifest
from diagxnet.data.splits import LEARNED
from diagxnet.statistics.scored import Scored, by_study
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.uncertainty import Estimate, compare, estimate, with_intervals

NAME = "shortcuts"
FEATURES = "age, sex, view, projection, width and height in pixels"
ITERATIONS = 1000


def shortcut_probe(data: Path, ensemble: dict[str, Estimate], scoring: Scoring) -> dict[str, object]:
    """The probe's figures on test, and the ensemble's paired differences from it.

    data: the folder of packed and prepared. ensemble: its estimates on test, by metric. {"images": that it was fitted
    to, "features", NAME: {"auroc" | "auprc": see `with_intervals`}, "ensemble_minus_shortcuts": {"auroc" | "auprc": see
    `compare`}}
    """
    fitted = read_labels(data / "prepared", *LEARNED)
    tested = read_labels(data / "prepared", "test")
    manifest = read_manifest(data / "prepared").set_index("row")
    shapes = np.load(data / "packed" / "shapes.npy", mmap_mode="r")
    learned, applied = (
        shortcut_features(manifest.loc[own.rows], np.asarray(shapes[own.rows])) for own in (fitted, tested)
    )
    logits = probe_logits(learned, fitted, applied)
    findings = read_findings(data / "prepared")
    scored = _scored(manifest.loc[tested.rows], logits, tested, findings, scoring.unit)
    options = {"resamples": scoring.bootstrap, "seed": scoring.seed, "min_positives": scoring.min_positives}
    own = estimate(scored, **options)[NAME]
    return {
        "images": len(fitted.rows),
        "features": FEATURES,
        NAME: {metric: with_intervals(each) for metric, each in own.items()},
        f"ensemble_minus_{NAME}": {metric: compare(ensemble[metric], each) for metric, each in own.items()},
    }


def shortcut_features(rows: pd.DataFrame, shapes: np.ndarray) -> np.ndarray:
    """[images, features] float64: age in years (the middle, 50, where unknown) and whether it is known; 0 or 1 for each
    sex, view and projection; logarithms of width and height.

    rows: [images] with columns age, sex, view and projection. shapes: [images, 2] width and height in pixels.
    """
    ages = rows["age"].to_numpy(float)
    known = ~np.isnan(ages)
    columns = [np.where(known, ages, 50.0), known]
    for name, values in (("sex", ("female", "male")), ("view", ("lateral",)), ("projection", ("AP", "PA"))):
        columns += [rows[name].to_numpy(object) == value for value in values]
    return np.column_stack([*columns, np.log(np.maximum(shapes, 1))]).astype(np.float64)


def probe_logits(learned: np.ndarray, labels: Labels, applied: np.ndarray) -> np.ndarray:
    """Logits [applied, findings] float64 of a logistic regression each finding; 0 throughout where no image of one
    class is known to learn from. learned, applied: [images, features]. labels: of the images of `learned`."""
    logits = np.zeros((len(applied), labels.targets.shape[1]))
    for f in range(logits.shape[1]):
        known = labels.mask[:, f]
        positive = labels.targets[known, f] >= POSITIVE
        if positive.any() and not positive.all():
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
            logits[:, f] = model.fit(learned[known], positive).decision_function(applied)
    return logits


def _scored(rows: pd.DataFrame, logits: np.ndarray, labels: Labels, findings: Findings, unit: str) -> Scored:
    positive = (labels.targets > 0) & labels.mask
    owners, paths = rows["patient"].to_numpy(object), rows["path"].to_numpy(object)
    scored = Scored((NAME,), logits[None], positive, labels.mask, owners, {}, paths, findings)
    return scored if unit == "image" else by_study(scored, rows["study"].to_numpy(object))
