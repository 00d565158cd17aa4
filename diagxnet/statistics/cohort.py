"""Table 1: who is in each split, and how often each finding is there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from diagxnet.data.hierarchy import POSITIVE
from diagxnet.data.prepared import Labels
from diagxnet.data.splits import splits_of

VIEWS = {("frontal", "AP"): "frontal_ap", ("frontal", "PA"): "frontal_pa", ("frontal", ""): "frontal"}


def cohort(rows: pd.DataFrame, labels: Labels, keys: Sequence[str]) -> dict[str, Any]:
    """Counts of the images `rows` [images], columns patient, study, view, projection, sex and age, with their `labels`.

    {"images", "studies", "patients", "age": {"mean", "deviation", "unknown"} in years and "sex": {sex: patients}, both
    of each patient's first image, "view": {view: images}, "findings": {key: {"positive", "known"} images}}. keys: of
    the findings, in the order of the labels' columns. mean and deviation are None where no age is known.
    """
    patients = rows.drop_duplicates("patient")
    ages = patients["age"].dropna().astype(float)
    views = pd.Series(
        [VIEWS.get(pair, pair[0]) for pair in zip(rows["view"], rows["projection"], strict=True)], dtype=object
    )
    positive = labels.mask & (labels.targets >= POSITIVE)
    counts = zip(positive.sum(axis=0).tolist(), labels.mask.sum(axis=0).tolist(), strict=True)
    return {
        "images": len(rows),
        "studies": int(rows["study"].nunique()),
        "patients": len(patients),
        "age": {
            "mean": float(ages.mean()) if len(ages) else None,
            "deviation": float(ages.std(ddof=1)) if len(ages) > 1 else None,
            "unknown": len(patients) - len(ages),
        },
        "sex": _counted(patients["sex"]),
        "view": _counted(views),
        "findings": {
            key: {"positive": found, "known": known} for key, (found, known) in zip(keys, counts, strict=True)
        },
    }


def _counted(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().sort_index().items()}


def losses(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By table the rows read, in use, and lost with the reasons. summary: content of data/prepared/summary.json.

    {table: {"read", "unreadable": {reason: images}, "not_wanted", "in_use": {split: images}}}; `not_wanted` are of
    other views than data.views, or of patients beyond data.max_patients.
    """
    splits = {name: own["images"] for name, own in summary["splits"].items()}
    result = {}
    for table, own in splits_of(list(summary["tables"])).items():
        dropped = [each["reason"] for each in summary["dropped_images"] if each["table"] == table]
        reasons, counts = np.unique(dropped, return_counts=True) if dropped else ((), ())
        in_use = {split: splits[split] for split in own}
        read = summary["tables"][table]["images"]
        result[table] = {
            "read": read,
            "unreadable": {str(reason): int(count) for reason, count in zip(reasons, counts, strict=True)},
            "not_wanted": read - len(dropped) - sum(in_use.values()),
            "in_use": in_use,
        }
    return result
