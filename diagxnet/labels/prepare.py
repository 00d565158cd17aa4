"""Preparing: which packed row is in which split, what its labels become, and an audit of all of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError
from diagxnet.data.files import replacing, write_arrays, write_json
from diagxnet.data.findings import Findings
from diagxnet.data.folds import write_draws
from diagxnet.data.hierarchy import FLAT, POSITIVE, Hierarchy
from diagxnet.data.packed import read_dropped, read_duplicates, read_index, titled
from diagxnet.data.prepared import COLUMNS, GROUPS, Labels, write_findings
from diagxnet.data.splits import LEARNED, SPLITS, assert_disjoint, assign, splits_of, subset
from diagxnet.labels.duplicates import Joined, join_patients
from diagxnet.labels.rules import apply_rules, looked_for, rules_of, score_labels
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns
from diagxnet.reading.tables import Table, group_column, read_tables

COUNTS = ("positive", "negative", "uncertain", "blank")


def prepare(
    root: str | Path,
    packed: str | Path,
    folder: str | Path,
    *,
    views: str,
    uncertain: Mapping[str, str],
    blank: str,
    split_seed: int,
    max_patients: int | None,
    shares: Mapping[str, float],
    columns: Columns = CHEXPERT_COLUMNS,
    test: str | None = None,
    hierarchy: Hierarchy = FLAT,
) -> dict:
    """Writes findings.json, manifest.csv, labels_{train,val,stack,test}.npz, folds.npz, GROUPS and summary.json to
    `folder`; returns the last.

    root: folder of the tables. packed: what `pack` wrote; dropped images are in no split. views: `frontal`, `lateral`
    or `all`. uncertain, blank: the label rules (see `apply_rules`), a rule for each finding. split_seed: assigns
    patients to splits, chooses the subset, draws the lsr targets. max_patients: so many of train.csv's patients, or
    None for all. shares: `val` and `stack`, shares of train.csv's patients, and `test`, the share cut off before where
    no table is the test set. columns: of the tables, the findings and what makes groups among them. test: the table of
    data.test (see `splits_of`). hierarchy: of the findings, which completes the labels of train and stack.

    Patients who share films are split together (`join_patients`; `duplicates` of the summary). A finding without a
    known label in train is not learned, and so masked in every split (`not_learned` of the summary;
    `not_annotated`: those that are blank in every row in use of the table that a split is of).

    Raises InputError where the packed index is of other tables, a split would be empty, or a parent in `hierarchy` has
    no known label in train.
    """
    tables = read_tables(root, columns, test)
    joined = join_patients(tables, read_duplicates(packed))
    manifest, labels, used = assign_rows(
        tables, views=views, split_seed=split_seed, max_patients=max_patients, shares=shares, joined=joined
    )
    manifest["row"] = _packed_rows(manifest["table"], manifest["path"], Path(packed))
    used &= (manifest["row"] >= 0).to_numpy()
    # packed rows follow the tables' order, so the rows in use are ordered by row already
    manifest, labels = manifest[used].reset_index(drop=True), labels[used]
    check_splits(manifest, views, max_patients)
    assert_disjoint(manifest["patient"], manifest["split"])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    findings = columns.findings
    uncertain = rules_of(findings, uncertain)
    write_findings(folder, findings, hierarchy)
    with replacing(folder / "manifest.csv") as temporary:
        ages = manifest["age"].astype("Int64")
        manifest.assign(age=ages).to_csv(
            temporary, index=False, columns=list(COLUMNS), lineterminator="\n", encoding="utf-8"
        )
    _write_groups(folder / GROUPS, manifest[manifest["split"] == "test"], columns.groups)
    sought = looked_for(labels, manifest["table"].to_numpy(object))
    prepared, not_annotated = {}, {}
    for split in SPLITS:
        chosen = (manifest["split"] == split).to_numpy()
        paths = manifest["path"][chosen].tolist()
        if split in LEARNED:
            targets, mask = apply_rules(
                labels[chosen], paths, findings, uncertain=uncertain, blank=blank, seed=split_seed
            )
        else:
            targets, mask = score_labels(labels[chosen], blank=blank)
        mask &= sought[chosen]
        if split == "train":
            check_parents(hierarchy, mask, findings)
        if split in LEARNED:
            targets, mask = hierarchy.complete(targets, mask, findings.keys)
        prepared[split] = Labels(manifest["row"][chosen].to_numpy(np.int64), targets, mask)
        known = zip(findings.keys, sought[chosen].all(axis=0), strict=True)
        not_annotated[split] = [key for key, found in known if not found]
    warnings = joined.warnings + [
        warning
        for split in LEARNED
        for warning in one_class_warnings(
            split, prepared[split], labels[manifest["split"] == split], findings, uncertain, blank
        )
    ]
    not_learned = ~prepared["train"].mask.any(axis=0)
    for split, own in prepared.items():
        own.targets[:, not_learned], own.mask[:, not_learned] = 0, False
        write_arrays(folder / f"labels_{split}.npz", rows=own.rows, targets=own.targets, mask=own.mask)
    development = manifest["split"].isin(LEARNED).to_numpy()
    rows = manifest["row"][development].to_numpy(np.int64)
    write_draws(folder, rows, joined.groups(manifest["patient"][development]), split_seed)
    dropped = read_dropped(packed)
    summary = {
        "rules": {"uncertain": uncertain, "blank": blank, "views": views}
        | ({"hierarchy": hierarchy.mode, "parents": dict(hierarchy.parents)} if hierarchy.parents else {}),
        "tables": {table.name: count(table.frame, table.labels, findings) for table in tables},
        "splits": {split: _count_split(manifest, labels, split, findings) for split in SPLITS},
        "dropped": {"images": len(dropped), **dropped["table"].value_counts().sort_index().to_dict()},
        "dropped_images": dropped.to_dict("records"),
        "duplicates": joined.counts,
        "not_annotated": not_annotated,
        "not_learned": [findings.keys[f] for f in np.flatnonzero(not_learned)],
        "one_class": {split: one_class(prepared[split], findings.keys) for split in SPLITS},
        "warnings": warnings,
    }
    write_json(folder / "summary.json", summary)
    return summary


def check_parents(hierarchy: Hierarchy, mask: np.ndarray, findings: Findings) -> None:
    """InputError for a parent that train never labels: its children's positives alone would teach that it is always
    there."""
    for child, parent in hierarchy.parents.items():
        known = mask[:, [findings.keys.index(key) for key in (child, parent)]].any(axis=0)
        if known[0] and not known[1]:
            raise InputError(
                f"data.hierarchy: {parent}, the parent of {child}, has no known label in train (take it out of "
                "data.findings, or set data.hierarchy to off)"
            )


def _write_groups(path: Path, test: pd.DataFrame, names: Sequence[str]) -> None:
    cells = test[["row", *map(group_column, names)]].set_axis(["row", *names], axis=1)
    with replacing(path) as temporary:
        cells.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def count(frame: pd.DataFrame, labels: np.ndarray, findings: Findings) -> dict:
    """Images, studies, patients, contradictions, and per finding the counts of each label, by image and by study.

    frame: [rows] with columns study and patient; labels: [rows, findings]. A study's label is its first row's, as
    table 1 of Irvin et al. 2019 counts studies. A contradiction: see `Findings.contradictions`.
    """
    first = ~frame["study"].duplicated().to_numpy()
    by_image, by_study = _count_labels(labels), _count_labels(labels[first])
    return {
        "images": len(frame),
        "studies": int(first.sum()),
        "patients": int(frame["patient"].nunique()),
        "contradictions": int(findings.contradictions(labels).sum()),
        "findings": {key: {"images": by_image[i], "studies": by_study[i]} for i, key in enumerate(findings.keys)},
    }


def one_class(labels: Labels, keys: Sequence[str]) -> list[str]:
    """Those of `keys`, of the findings whose known targets are all of one class, or that have no known target."""
    positive = labels.mask & (labels.targets >= POSITIVE)
    negative = labels.mask & (labels.targets < POSITIVE)
    both = positive.any(axis=0) & negative.any(axis=0)
    return [key for key, known in zip(keys, both, strict=True) if not known]


def audit_table(summary: dict, findings: Findings) -> str:
    """The summary as text for a terminal, 106 columns wide: a block for each table as read and for each split."""
    blocks = [_block(f"{titled(name)} as read", counts, findings) for name, counts in summary["tables"].items()]
    blocks += [_block(f"split {name}", counts, findings) for name, counts in summary["splits"].items()]
    notes = [f"dropped images: {summary['dropped']['images']:,}"]
    notes += [f"warning: {warning}" for warning in summary["warnings"]]
    return "\n\n".join([*blocks, "\n".join(notes)])


def grouping(frame: pd.DataFrame, patient: str | None) -> str:
    """How images, patients and studies belong together, in one line, so that a column or path misread shows.

    frame: [rows] with columns patient and study. patient: the column that named the patients, None for their paths.
    """
    images = frame["patient"].value_counts()
    source = "names in the paths" if patient is None else f"column {patient}"
    return (
        f"patients by {source}: {len(frame):,} images of {len(images):,} patients in {frame['study'].nunique():,} "
        f"studies; images a patient: {images.median():g} at the median, {images.iloc[0]:,} at the most "
        f"({images.index[0]})"
    )


def assign_rows(
    tables: Sequence[Table],
    *,
    views: str,
    split_seed: int,
    max_patients: int | None,
    shares: Mapping[str, float],
    joined: Joined | None = None,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Every row of the `tables`, train first, with its table and split; the labels as read; whether it is in use.

    Returns ([rows] with the columns of `Table.frame`, table and split; [rows, findings] float64; [rows] bool). In use
    are the views wanted, of the patients wanted. joined: patients who share films; those of train.csv are split
    together, and who shares one with a later table is not in use.
    """
    joined = joined or Joined({}, {}, {}, [])
    held = splits_of([table.name for table in tables])
    frames, labels, used = [], [], []
    for table in tables:
        patients, own = table.frame["patient"], held[table.name]
        split = own[0] if len(own) == 1 else _splits(joined.groups(patients), own, split_seed, shares)
        frames.append(table.frame.assign(table=table.name, split=split))
        labels.append(table.labels)
        limit = max_patients if table.name == "train" else None
        wanted = subset(patients, seed=split_seed, max_patients=limit)
        used.append(wanted & ~patients.isin(joined.left_out.get(table.name, ())).to_numpy())
    rows, in_use = pd.concat(frames, ignore_index=True), np.concatenate(used)
    if views != "all":
        in_use &= (rows["view"] == views).to_numpy()
    return rows, np.concatenate(labels), in_use


def _splits(patients: np.ndarray, wanted: Sequence[str], seed: int, shares: Mapping[str, float]) -> np.ndarray:
    """The split of each row of train.csv, one of `wanted`; what val would have is train where val is a table."""
    of_rest = {"train": 1 - shares["val"] - shares["stack"], "val": shares["val"], "stack": shares["stack"]}
    splits = assign(patients, seed=seed, shares=of_rest)
    if "val" not in wanted:
        splits[splits == "val"] = "train"
    if "test" in wanted:
        test = assign(patients, seed=seed, shares={"rest": 1 - shares["test"], "test": shares["test"]}, purpose="test")
        splits[test == "test"] = "test"
    return splits


def _packed_rows(tables: pd.Series, paths: pd.Series, packed: Path) -> np.ndarray:
    """The packed row of each table row, -1 where it was dropped; InputError where the pack is of other tables."""
    index, dropped = read_index(packed), read_dropped(packed)
    rows = dict(zip(zip(index["table"], index["path"], strict=True), index["row"], strict=True))
    rows |= dict.fromkeys(zip(dropped["table"], dropped["path"], strict=True), -1)
    wanted = list(zip(tables, paths, strict=True))
    if len(rows) != len(wanted) or not all(each in rows for each in wanted):
        raise InputError(f"{packed}: packed from other tables than those under data.root (run: dvc repro)")
    return np.array([rows[each] for each in wanted], np.int64)


def check_splits(manifest: pd.DataFrame, views: str, max_patients: int | None) -> None:
    """InputError where a split has no image, with the values in params.yaml that left it so."""
    sizes = manifest["split"].value_counts()
    empty = [split for split in SPLITS if split not in sizes]
    if empty:
        found = ", ".join(f"{split} {sizes.get(split, 0):,}" for split in SPLITS)
        raise InputError(
            f"no image in {', '.join(empty)}: {found} images with data.views: {views} and data.max_patients: "
            f"{max_patients or 'null'} (use more patients, other views, or another data.split_seed)"
        )


def _count_split(manifest: pd.DataFrame, labels: np.ndarray, split: str, findings: Findings) -> dict:
    chosen = (manifest["split"] == split).to_numpy()
    return count(manifest[chosen], labels[chosen], findings)


def _count_labels(labels: np.ndarray) -> list[dict[str, int]]:
    columns = [(labels == 1).sum(0), (labels == 0).sum(0), (labels == -1).sum(0), np.isnan(labels).sum(0)]
    return [dict(zip(COUNTS, map(int, row), strict=True)) for row in zip(*columns, strict=True)]


def one_class_warnings(
    split: str,
    prepared: Labels,
    labels: np.ndarray,
    findings: Findings,
    uncertain: Mapping[str, str],
    blank: str,
) -> list[str]:
    """Lines that name the findings with one class in `split` and the rule that left them so. labels: as read."""
    by_state: dict[str, list[str]] = {}
    for key in one_class(prepared, findings.keys):
        column = findings.keys.index(key)
        known, read = prepared.mask[:, column], labels[:, column]
        positive = known & (prepared.targets[:, column] >= POSITIVE)
        state = "no known label" if not known.any() else "positives only" if positive.any() else "negatives only"
        rules = [f"data.blank: {blank}"] if np.isnan(read).any() else []
        rules += [f"data.uncertain.{key}: {uncertain[key]}"] if (read == -1).any() else []
        cause = f"under {' and '.join(rules)}" if rules else "in the table itself"
        if np.isnan(read).all() and not known.any():
            cause = "as all are blank"
        by_state.setdefault(f"{state} in {split} {cause}", []).append(key)
    return [f"{', '.join(keys)}: {state}; nothing can be learned from that" for state, keys in by_state.items()]


def _block(title: str, counts: dict, findings: Findings) -> str:
    width = max(map(len, findings.names))
    heading = (
        f"{title}: {counts['images']:,} images, {counts['studies']:,} studies, {counts['patients']:,} patients, "
        f"{counts['contradictions']:,} contradict themselves"
    )
    names = "".join(f"{name:>10}" for name in (*COUNTS, *COUNTS))
    lines = [heading, f"{'':{width}}{'by image':>40}{'by study':>40}", f"{'':{width}}{names}"]
    for key, finding in findings.titles.items():
        numbers = (counts["findings"][key][unit][name] for unit in ("images", "studies") for name in COUNTS)
        lines.append(f"{finding:{width}}" + "".join(f"{number:>10,}" for number in numbers))
    return "\n".join(lines)
