"""PadChest as CheXpert's table: `python -m diagxnet.importers.padchest DIR`.

Bustos et al., "PadChest: A large chest x-ray image dataset with multi-label annotated reports", Medical Image Analysis
2020, arXiv:1901.07441. 160,868 radiographs of 67,625 patients of the Hospital San Juan, Alicante, 2009 to 2017, as
16-bit PNG; 27% of the reports were labelled by physicians, the others by a network (MethodLabel). The table
`PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv` has a row an image: ImageID, ImageDir, StudyDate_DICOM, StudyID,
PatientID, PatientBirth, PatientSex_DICOM, Projection, and Labels, a list of 193 classes in one cell, as
"['cardiomegaly', 'pleural effusion']".

Its quirks: a list may hold blanks, spaces before a class, and a class twice. What the list does not name counts as
absent. Images without a list, and those of `exclude` or of nothing but `unchanged` (as the image before, which the
label does not say) are left out, as are projections other than PA, AP, AP_horizontal and L. Age is the study's year
less the year of birth. The release has no test set: data.shares.test cuts one off. Images lie in the folders that
ImageDir names, or all in one; a few files of the release are known to be damaged (data.bad_images: drop).
"""

import ast
import sys
from collections.abc import Sequence
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
from diagxnet.reading.values import OLDEST, SEXES, folded, whole

SOURCE = "PadChest"
HEADER = ("ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM")
HEADER += ("Projection", "Labels")
VIEWS = {"PA": ("Frontal", "PA"), "AP": ("Frontal", "AP"), "AP_horizontal": ("Frontal", "AP"), "L": ("Lateral", "LL")}
NOTHING_SAID = {"exclude", "unchanged", "suboptimal study"}
EFFUSION = ["pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "hydropneumothorax"]
ATELECTASIS = ["atelectasis", "laminar atelectasis", "segmental atelectasis", "lobar atelectasis", "total atelectasis"]
ATELECTASIS += ["round atelectasis", "atelectasis basal"]
LESION = ["nodule", "multiple nodules", "mass", "pulmonary mass", "lung metastasis"]
CONSOLIDATION = ["consolidation", "air bronchogram"]
PNEUMONIA = ["pneumonia", "atypical pneumonia"]
EDEMA = ["pulmonary edema", "kerley lines"]
PATTERNS = ["infiltrates", "alveolar pattern", "interstitial pattern", "ground glass pattern", "miliary opacities"]
PATTERNS += ["reticular interstitial pattern", "reticulonodular interstitial pattern", "increased density"]
LINES = ["central venous catheter", "central venous catheter via jugular vein", "catheter", "NSG tube"]
LINES += ["central venous catheter via subclavian vein", "central venous catheter via umbilical vein"]
LINES += ["reservoir central venous catheter", "endotracheal tube", "tracheostomy tube", "chest drain tube"]
DEVICES = ["pacemaker", "single chamber device", "dual chamber device", "electrical device", "artificial heart valve"]
DEVICES += ["artificial mitral heart valve", "artificial aortic heart valve", "ventriculoperitoneal drain tube"]
PLEURA = ["pleural thickening", "apical pleural thickening", "calcified pleural thickening", "pleural plaques"]
PLEURA += ["calcified pleural plaques", "pleural mass", "empyema"]
BONES = ["fracture", "rib fracture", "callus rib fracture", "clavicle fracture", "humeral fracture"]
BONES += ["vertebral fracture"]
MAPPING = {
    "no_finding": ["normal"],
    "enlarged_cardiomediastinum": ["cardiomegaly", "mediastinal enlargement", "superior mediastinal enlargement"],
    "cardiomegaly": ["cardiomegaly"],
    "lung_opacity": [*PATTERNS, *CONSOLIDATION, *EDEMA, *PNEUMONIA, *ATELECTASIS, *LESION],
    "lung_lesion": LESION,
    "edema": EDEMA,
    "consolidation": CONSOLIDATION,
    "pneumonia": PNEUMONIA,
    "atelectasis": ATELECTASIS,
    "pneumothorax": ["pneumothorax", "hydropneumothorax"],
    "pleural_effusion": EFFUSION,
    "pleural_other": PLEURA,
    "fracture": BONES,
    "support_devices": [*LINES, *DEVICES],
}
"""Classes of PadChest that make a finding positive; `device` and the like that are its inner nodes are in no list."""

NOTES = ["a class that a list does not name counts as absent; MethodLabel (physician or network) is not read"]


def import_padchest(root: Path, *, partial: bool = False) -> Imported:
    """Reads the release in `root`; partial: whether images that are named and not there are left out.

    Raises one InputError for everything that is missing, renamed or doubled.
    """
    problems: list[str] = []
    path = find_table(root, "PADCHEST_chest_x_ray_images_labels_160K*.csv*", problems)
    finish(root, problems)
    entries = read_columns(path, HEADER)
    for column in ("ImageDir", "StudyID", "PatientID", "PatientBirth", "StudyDate_DICOM"):
        entries[column] = entries[column].str.strip().map(whole)
    report_repeated(path.name, entries["ImageID"], problems)
    lists = [classes_of(cell) for cell in entries["Labels"]]
    _check_rows(path.name, entries, lists, problems)
    finish(root, problems)
    rows: list[tuple[str, ...]] = []
    patients: list[str] = []
    left_out: dict[str, int] = {}
    missing: list[str] = []
    known: set[str] = set()
    for entry, classes in zip(entries.itertuples(index=False), lists, strict=True):
        place = _place(root, entry.ImageDir, entry.ImageID)
        reason = _reason(entry.Projection, classes)
        if reason is None and place is None:
            missing.append(entry.ImageID)
            reason = "not in its folder"
        if reason is None:
            rows.append(_row(entry, place, classes))
            patients.append(entry.PatientID)
            known |= classes
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    if not partial:
        report_missing(f"the folders of {root}", missing, [], problems)
        finish(root, problems)
    unused = sorted(known - {name for names in MAPPING.values() for name in names} - NOTHING_SAID)
    columns = {"patient": "PatientID", "study": "StudyID"}
    return Imported(
        SOURCE,
        {"train": rows, "valid": []},
        {"train": patients, "valid": []},
        MAPPING,
        unused,
        left_out,
        NOTES,
        columns,
    )


def classes_of(cell: str) -> set[str] | None:
    """The classes in a cell of Labels; nothing where it holds none; None where it is no list."""
    if folded(cell) == "":
        return set()
    try:
        found = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(found, list | tuple) or not all(isinstance(each, str) for each in found):
        return None
    return {each.strip() for each in found} - {""}


def _check_rows(table: str, entries: pd.DataFrame, lists: Sequence[set[str] | None], problems: list[str]) -> None:
    for row, classes in enumerate(lists):
        if classes is None:
            problems.append(f"{table}, line {row + 2}: Labels is {entries.at[row, 'Labels']!r}: must be a list")
    for column, allowed in (("PatientID", None), ("StudyID", None), ("PatientSex_DICOM", SEXES)):
        cells = entries[column].map(folded)
        wrong = cells.index[cells == "" if allowed is None else ~cells.isin([*allowed, "o"])]
        if len(wrong):
            what = "is blank" if allowed is None else f"is {entries.at[wrong[0], column]!r}: must be M, F or blank"
            problems.append(f"{table}, line {wrong[0] + 2}: {column} {what}")


def _reason(projection: str, classes: set[str]) -> str | None:
    """Why an image cannot be used."""
    if projection not in VIEWS:
        return f"Projection {projection or 'blank'}: neither PA, AP, AP_horizontal nor L"
    if not classes:
        return "no list of labels"
    return None if classes - NOTHING_SAID and "exclude" not in classes else "labels that say nothing of the image"


def _place(root: Path, folder: str, image: str) -> str | None:
    """Below `root`, in the image's folder or in none."""
    return next((place for place in (f"{folder}/{image}", image) if (root / place).is_file()), None)


def _row(entry: tuple, place: str, classes: set[str]) -> tuple[str, ...]:
    view, projection = VIEWS[entry.Projection]
    sex = entry.PatientSex_DICOM.strip().upper()
    found = {key: "0.0" if classes.isdisjoint(names) else "1.0" for key, names in MAPPING.items()}
    labels = (found[key] for key in CHEXPERT.keys)
    age = _age(entry.StudyDate_DICOM, entry.PatientBirth)
    sex = sex if sex in ("M", "F") else ""
    return (f"{SOURCE}/{place}", sex, age, view, projection, *labels, entry.PatientID, entry.StudyID)


def _age(study: str, birth: str) -> str:
    """Whole years; blank where they cannot be right."""
    if not (study[:4].isdigit() and birth[:4].isdigit()):
        return ""
    years = int(study[:4]) - int(birth[:4])
    return str(years) if 0 <= years <= OLDEST else ""


if __name__ == "__main__":
    sys.exit(main("padchest", import_padchest, f"Writes a CheXpert-style table for {SOURCE} into its folder."))
