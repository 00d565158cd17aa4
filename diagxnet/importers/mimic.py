"""MIMIC-CXR-JPG as CheXpert's tables: `python -m diagxnet.importers.mimic DIR`.

Johnson et al., "MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs", 2019,
arXiv:1901.07042; PhysioNet, doi:10.13026/jsn5-t979, under a data use agreement. 377,110 JPEG images at full size of
227,827 labelled studies of 65,379 patients of the Beth Israel Deaconess Medical Center, 2011 to 2016. Labels are those
of CheXpert's labeler on the free-text reports, so that findings, -1 and blank mean what they mean in CheXpert.

Its quirks: a label is of a study, and goes to each of its images; a few studies have a report that the labeler gave
nothing for, and are left out. ViewPosition is blank for some thousand images, and for some it is neither frontal nor
lateral (LAO, SWIMMERS and others): they are left out, for a table must say which. The tables hold no sex or age
(those are in MIMIC-IV, by subject_id): both are blank, so there are no such subgroups. The split's train and validate
become train.csv, its test becomes valid.csv, all by patient. Version 2.1.0 keeps the names `mimic-cxr-2.0.0-*.csv.gz`;
unpacked `.csv` is read too. Its test set labelled by radiologists is a table of its own and not used.
"""

import os
import sys
from pathlib import Path

import pandas as pd

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.importers.release import (
    Imported,
    find_table,
    finish,
    main,
    read_columns,
    report_missing,
    report_repeated,
)
from diagxnet.reading.values import whole
from diagxnet.trained_on import listed

SOURCE = "MIMIC-CXR-JPG"
TABLES = {
    "metadata": ("dicom_id", "subject_id", "study_id", "ViewPosition"),
    "split": ("dicom_id", "subject_id", "study_id", "split"),
    "chexpert": ("subject_id", "study_id", *CHEXPERT.names),
}
SPLITS = {"train": "train", "validate": "train", "test": "valid"}
VIEWS = {"AP": "Frontal", "PA": "Frontal", "LATERAL": "Lateral", "LL": "Lateral"}
LABELS = {"1.0", "0.0", "-1.0", ""}


def import_mimic(root: Path, *, partial: bool = False) -> Imported:
    """Reads the release in `root`; partial: whether images that are named and not there are left out.

    Raises one InputError for everything that is missing, renamed or doubled.
    """
    problems: list[str] = []
    paths = {name: find_table(root, f"mimic-cxr-2.*-{name}.csv*", problems) for name in TABLES}
    if not (root / "files").is_dir():
        problems.append("folder files is missing: the images lie in files/p10/p10000032/s50414267/")
    if None in paths.values():
        finish(root, problems)
    metadata, split, chexpert = (_read(paths[name], columns) for name, columns in TABLES.items())
    report_repeated(paths["metadata"].name, metadata["dicom_id"], problems)
    report_repeated(paths["split"].name, split["dicom_id"], problems)
    report_repeated(paths["chexpert"].name, chexpert["study_id"], problems)
    _check_labels(paths["chexpert"].name, chexpert, problems)
    split_of = dict(zip(split["dicom_id"], split["split"], strict=True))
    strange = sorted(set(split_of.values()) - set(SPLITS))
    if strange:
        problems.append(f"{paths['split'].name}: split is {strange[0]!r}: must be {', '.join(SPLITS)}")
    for one, other, names in (("metadata", "split", split_of), ("split", "metadata", set(metadata["dicom_id"]))):
        lost = [name for name in (metadata if one == "metadata" else split)["dicom_id"] if name not in names]
        if lost:
            problems.append(f"{len(lost):,} images of {paths[one].name} are not in {paths[other].name}: {listed(lost)}")
    finish(root, problems)
    labels = {study: tuple(found) for _, study, *found in chexpert.itertuples(index=False, name=None)}
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "valid": []}
    patients: dict[str, list[str]] = {"train": [], "valid": []}
    left_out: dict[str, int] = {}
    missing = []
    for dicom, subject, study, position in metadata.itertuples(index=False, name=None):
        place = f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"
        view = VIEWS.get(position.strip().upper())
        reason = None
        if view is None:
            reason = f"ViewPosition {position or 'blank'}: neither frontal nor lateral"
        elif study not in labels:
            reason = f"study without labels in {paths['chexpert'].name}"
        elif not (root / place).is_file():
            missing.append(place)
            reason = "not in files/"
        if reason is None:
            projection = position if view == "Frontal" else "LL"
            rows[SPLITS[split_of[dicom]]].append((f"{SOURCE}/{place}", "", "", view, projection, *labels[study]))
            patients[SPLITS[split_of[dicom]]].append(subject)
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    if not partial:
        report_missing("files/", missing, _unknown(root, missing, set(metadata["dicom_id"])), problems)
        finish(root, problems)
    mapping = {key: [finding] for key, finding in CHEXPERT.titles.items()}
    return Imported(SOURCE, rows, patients, mapping, left_out=left_out)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """As text; ids that went through a column of floats (50414267.0) are whole numbers again."""
    frame = read_columns(path, columns)
    for name in ("subject_id", "study_id"):
        frame[name] = frame[name].map(whole)
    return frame


def _check_labels(table: str, chexpert: pd.DataFrame, problems: list[str]) -> None:
    for finding in CHEXPERT.names:
        for row in chexpert.index[~chexpert[finding].isin(LABELS)]:
            value = chexpert.at[row, finding]
            problems.append(f"{table}, line {row + 2}: {finding} is {value!r}: must be 1.0, 0.0, -1.0 or blank")


def _unknown(root: Path, missing: list[str], known: set[str]) -> list[str]:
    """Files beside the first image that is missing, which no row names: a renamed one is likely among them."""
    folder = root / os.path.dirname(missing[0]) if missing else root
    if not missing or not folder.is_dir():
        return []
    return sorted(
        path.relative_to(root).as_posix()
        for path in folder.iterdir()
        if path.stem not in known or path.suffix != ".jpg"
    )


if __name__ == "__main__":
    sys.exit(main("mimic", import_mimic, f"Writes CheXpert-style tables for {SOURCE} into its folder."))
