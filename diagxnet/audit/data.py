"""Checks of the data: no patient in two splits, test labels read once, and the counts of images."""

import numpy as np
import pandas as pd

from diagxnet.audit.patients import strangers
from diagxnet.audit.run import AuditError, Run, reading
from diagxnet.data.files import read_arrays, read_json
from diagxnet.data.folds import read_draws
from diagxnet.data.packed import DUPLICATES, open_packed, read_dropped, read_duplicates, read_index, titled
from diagxnet.data.splits import SPLITS, splits_of

TEST_LABELS = "data/prepared/labels_test.npz"


READER, WRITER = "evaluate", "prepare"


def patients(run: Run) -> str:
    pairs = run.manifest[["patient", "split"]].drop_duplicates()
    twice = pairs["patient"][pairs["patient"].duplicated()]
    if len(twice):
        where = " and ".join(sorted(pairs["split"][pairs["patient"] == twice.iloc[0]]))
        raise AuditError(f"manifest.csv has {len(twice):,} in two splits, {twice.iloc[0]} first, in {where}")
    for split in SPLITS:
        rows = run.manifest["row"][run.manifest["split"] == split].astype(np.int64)
        path = run.data / "prepared" / f"labels_{split}.npz"
        with reading(path):
            labelled = read_arrays(path)["rows"].tolist()
        if rows.tolist() != labelled:
            raise AuditError(f"labels_{split}.npz holds other images than manifest.csv has in {split}")
    with reading(run.data / "prepared" / "folds.npz"):
        draws = read_draws(run.data / "prepared")
    owners = run.manifest.set_index(run.manifest["row"].astype(np.int64))["patient"]
    folds = pd.DataFrame({"patient": owners.reindex(draws.rows).to_numpy(), "draw": draws.values}).drop_duplicates()
    if folds["patient"].isna().any() or folds["patient"].duplicated().any():
        raise AuditError("folds.npz has images of one patient in two folds, or images that are in no split")
    films = _films_apart(run)
    wrong, source = strangers(run.manifest, run.tables, run.named, run.test_table)
    if wrong:
        raise AuditError(wrong)
    alike = f"; {films:,} pairs of images of one film, none on two sides" if films else ""
    return f"{len(pairs):,}, each in one split and one fold, also by {source}{alike}"


def _films_apart(run: Run) -> int:
    """The pairs of images that are one film; AuditError where they are in two splits, or would be in two folds."""
    path = run.data / "packed" / DUPLICATES
    with reading(path):
        pairs = read_duplicates(path.parent)
    rows = run.manifest.set_index("path")
    draws = read_draws(run.data / "prepared")
    folds = dict(zip(draws.rows.tolist(), draws.values.tolist(), strict=True))
    for one, other in zip(pairs["path"], pairs["same_path"], strict=True):
        if one in rows.index and other in rows.index:
            sides = [(rows.at[name, "split"], folds.get(int(rows.at[name, "row"]))) for name in (one, other)]
            if sides[0] != sides[1]:
                split, other_split = (split for split, _ in sides)
                where = f"{split} and {other_split}" if split != other_split else f"two folds of {split}"
                raise AuditError(f"{one} and {other} are one film, and in {where}")
    return len(pairs)


def test_labels(run: Run) -> str:
    readers = sorted(
        name
        for name, paths in run.pipeline.reads.items()
        if any(path == TEST_LABELS or TEST_LABELS.startswith(f"{path.rstrip('/')}/") for path in paths)
    )
    if readers != [READER]:
        raise AuditError(
            f"{TEST_LABELS} must be a dependency of {READER} alone, and is one of {', '.join(readers) or 'none'}"
        )
    return f"of {_held_out(run)}: a dependency of {READER} alone among {len(run.pipeline.reads)} stages"


def _held_out(run: Run) -> str:
    """The tables that test is of; AuditError where one that is all test's has images in another split."""
    with reading(run.data / "packed" / "index.csv"):
        index = read_index(run.data / "packed").set_index("row")["table"]
    tables = index.reindex(run.manifest["row"].astype(np.int64)).to_numpy(object)
    split = run.manifest["split"].to_numpy(object)
    found = {str(name): set(split[tables == name]) for name in pd.unique(tables)}
    wanted = splits_of(list(found))
    for name, splits in found.items():
        if not splits <= set(wanted.get(name, ())):
            stray = sorted(splits - set(wanted.get(name, ())))
            raise AuditError(f"images of {titled(name)} are in {' and '.join(stray)}")
    return " and ".join(titled(name) for name, splits in wanted.items() if "test" in splits)


def counts(run: Run) -> str:
    folder = run.data / "packed"
    with reading(folder / "images.npy"):
        packed = open_packed(folder)
    with reading(folder / "index.csv"):
        index = read_index(folder)
    with reading(folder / "dropped.csv"):
        dropped = read_dropped(folder)
    with reading(run.data / "prepared" / "summary.json"):
        summary = read_json(run.data / "prepared" / "summary.json")
    rows = run.manifest["row"].astype(np.int64)
    if index["row"].tolist() != list(range(len(packed))):
        raise AuditError(f"index.csv has {len(index):,} rows, images.npy {len(packed):,} images")
    if rows.duplicated().any() or not rows.between(0, len(packed) - 1).all():
        raise AuditError("manifest.csv has an image twice, or one that images.npy lacks")
    moved = index["path"].to_numpy(object)[rows] != run.manifest["path"].to_numpy(object)
    if moved.any():
        raise AuditError(
            f"manifest.csv and index.csv have other images in {moved.sum():,} rows, row {rows[moved].iloc[0]} first"
        )
    read = sum(table["images"] for table in summary["tables"].values())
    if read != len(index) + len(dropped):
        raise AuditError(f"the tables have {read:,} images, {len(index):,} are packed and {len(dropped):,} dropped")
    if summary["dropped"]["images"] != len(dropped) or run.claims.evaluation["counts"]["dropped_images"] != len(
        dropped
    ):
        raise AuditError(f"{len(dropped):,} images are in dropped.csv, not as many in summary.json or evaluation.json")
    for split in SPLITS:
        own = run.manifest[run.manifest["split"] == split]
        found = len(own), own["patient"].nunique(), own["study"].nunique()
        said = tuple(summary["splits"][split][name] for name in ("images", "patients", "studies"))
        if found != said:
            raise AuditError(
                f"{split} has {found} images, patients and studies in manifest.csv, {said} in summary.json"
            )
    studies = run.manifest["study"][run.manifest["split"] == "test"].nunique()
    if run.claims.evaluation["counts"]["studies"] != studies:
        raise AuditError(
            f"evaluation.json counts {run.claims.evaluation['counts']['studies']:,} studies, test has {studies:,}"
        )
    return f"{read:,} images in tables = {len(index):,} packed + {len(dropped):,} dropped; {len(rows):,} in use"
