"""The prepared data, as `data.prepare` wrote it: which packed row is in which split, and what its labels became."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_arrays, read_json, write_json
from diagxnet.data.findings import Findings
from diagxnet.data.hierarchy import FLAT, Hierarchy
from diagxnet.data.splits import assert_disjoint

COLUMNS = ("row", "split", "path", "patient", "study", "view", "projection", "sex", "age")
FINDINGS_FILE = "findings.json"
GROUPS = "groups.csv"
"""row, and the cells of the tables' further columns (`Columns.groups`), of the images of test. A file of its own, so
that no stage before `evaluate`, which reads it (`statistics.groups`), depends on it."""


@dataclass(frozen=True)
class Labels:
    """The labels of a split, ordered by row.

    rows: [images] int64, rows of images.npy. targets: [images, findings] float32, 0 where unknown. mask: [images,
    findings] bool, True where known.
    """

    rows: np.ndarray
    targets: np.ndarray
    mask: np.ndarray


def write_findings(folder: str | Path, findings: Findings, hierarchy: Hierarchy = FLAT) -> None:
    """hierarchy: of the findings, of which nothing is written where it is off."""
    own = {"hierarchy": {"mode": hierarchy.mode, "parents": dict(hierarchy.parents)}} if hierarchy.parents else {}
    write_json(Path(folder) / FINDINGS_FILE, {"findings": list(findings.names)} | own)


def read_findings(folder: str | Path) -> Findings:
    """The findings that the labels in `folder` are of; InputError where it does not say."""
    return read_hierarchy(folder)[0]


def read_hierarchy(folder: str | Path) -> tuple[Findings, Hierarchy]:
    """The findings that the labels in `folder` are of, and their hierarchy; InputError where it does not say."""
    path = Path(folder) / FINDINGS_FILE
    try:
        content = read_json(path)
        findings = Findings(tuple(content["findings"]))
        own = content.get("hierarchy")
        return findings, FLAT if own is None else Hierarchy.of(own["mode"], findings.keys, own["parents"])
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (make it with: dvc repro prepare)") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged (make it anew: dvc repro -f prepare)") from None


def read_manifest(folder: str | Path) -> pd.DataFrame:
    """The rows in use, ordered by row: row, split, path, patient, study, view, projection, sex, age (NaN: unknown).

    Raises AssertionError where a patient is in two splits.
    """
    path = Path(folder) / "manifest.csv"
    types = dict.fromkeys(COLUMNS, str) | {"row": np.int64, "age": float}
    text = [column for column in COLUMNS if types[column] is str]
    manifest = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={"age": [""]})
    manifest[text] = manifest[text].astype(object)
    assert_disjoint(manifest["patient"], manifest["split"])
    return manifest


def read_labels(folder: str | Path, *splits: str) -> Labels:
    """The labels of `splits` (train, val, stack or test) together, ordered by row."""
    parts = [read_arrays(Path(folder) / f"labels_{split}.npz") for split in splits]
    whole = {key: np.concatenate([part[key] for part in parts]) for key in ("rows", "targets", "mask")}
    order = np.argsort(whole["rows"], kind="stable")
    return Labels(**{key: values[order] for key, values in whole.items()})
