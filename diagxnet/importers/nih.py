"""ChestX-ray14 of the NIH Clinical Center as CheXpert's tables: `python -m diagxnet.importers.nih DIR`.

Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised Classification and
Localization of Common Thorax Diseases", CVPR 2017, arXiv:1705.02315. 112,120 frontal radiographs (67,310 PA, 44,810 AP)
of 30,805 patients as 8-bit PNG of 1024 x 1024 pixels, in twelve archives; `train_val_list.txt` and `test_list.txt`
share no patient and become train.csv and valid.csv.

Its quirks: labels were mined from reports, which are not published, and the authors expect more than 90% of them to be
right; a class that a report does not name counts as absent, so there is no uncertain label. Sixteen ages are above 100,
some above 400: they become blank. Some copies write ages as 058Y. The follow-up number counts a patient's images in
time, and stands for the study here. The archives unpack to `images/`, mirrors keep `images_001/images/` and so on: both
are read. Some images have four channels.
"""

import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from diagxnet.console.errors import InputError
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
from diagxnet.reading.values import OLDEST, PROJECTIONS, whole
from diagxnet.trained_on import listed

SOURCE = "ChestX-ray14"
LISTS = {"train": "train_val_list.txt", "valid": "test_list.txt"}
HEADER = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)
MAPPING = {
    "no_finding": ["No Finding"],
    "enlarged_cardiomediastinum": ["Cardiomegaly"],
    "cardiomegaly": ["Cardiomegaly"],
    "lung_opacity": ["Infiltration", "Consolidation", "Edema", "Pneumonia", "Atelectasis", "Mass", "Nodule"],
    "lung_lesion": ["Nodule", "Mass"],
    "edema": ["Edema"],
    "consolidation": ["Consolidation"],
    "pneumonia": ["Pneumonia"],
    "atelectasis": ["Atelectasis"],
    "pneumothorax": ["Pneumothorax"],
    "pleural_effusion": ["Effusion"],
    "pleural_other": ["Pleural_Thickening"],
}
"""Classes of ChestX-ray14 that make a finding positive; Fracture and Support Devices have none."""

UNUSED = ["Emphysema", "Fibrosis", "Hernia"]
CLASSES = {name for names in MAPPING.values() for name in names} | set(UNUSED)
NOTES = [
    "Enlarged Cardiomediastinum is 1 with Cardiomegaly, 0 with No Finding and blank otherwise: ChestX-ray14 has no "
    "such class, and Cardiomegaly implies it in CheXpert's hierarchy"
]


def import_nih(root: Path, *, partial: bool = False) -> Imported:
    """Reads the release in `root`; partial: whether images that are named and not there are left out.

    Raises one InputError for everything that is missing, renamed or doubled.
    """
    problems: list[str] = []
    table = find_table(root, "Data_Entry_2017*.csv", problems)
    lists = {name: find_table(root, file, problems) for name, file in LISTS.items()}
    places = _places(root, problems)
    if table is None or None in lists.values():
        finish(root, problems)
    entries = read_columns(table, HEADER)
    for column in ("Patient ID", "Patient Age"):
        entries[column] = entries[column].map(whole)
    report_repeated(table.name, entries["Image Index"], problems)
    _check_rows(table.name, entries, problems)
    split = _split(lists, set(entries["Image Index"]), table.name, problems)
    unlisted = [name for name in entries["Image Index"] if name not in split]
    if unlisted:
        problems.append(f"{len(unlisted):,} images of {table.name} are in neither list: {listed(unlisted)}")
    missing = [name for name in entries["Image Index"] if name not in places]
    unknown = sorted(set(places) - set(entries["Image Index"]))
    if not partial:
        report_missing("images_*/images", missing, unknown, problems)
        if unknown:
            problems.append(f"{len(unknown):,} images are in no row of {table.name}: {listed(unknown)}")
    finish(root, problems)
    rows: dict[str, list[tuple[str, ...]]] = {name: [] for name in LISTS}
    patients: dict[str, list[str]] = {name: [] for name in LISTS}
    for entry in entries.itertuples(index=False, name=None):
        if entry[0] in places:
            rows[split[entry[0]]].append(_row(entry, places[entry[0]]))
            patients[split[entry[0]]].append(entry[HEADER.index("Patient ID")])
    left_out = {"not in images_*/images": len(missing), f"in no row of {table.name}": len(unknown)}
    return Imported(
        SOURCE, rows, patients, MAPPING, UNUSED, {reason: count for reason, count in left_out.items() if count}, NOTES
    )


def labels(classes: set[str]) -> dict[str, str]:
    """By finding key 1.0, 0.0 or blank, for the classes of one image."""
    found = {key: "1.0" if classes & set(names) else "0.0" for key, names in MAPPING.items()}
    if "Cardiomegaly" not in classes and "No Finding" not in classes:
        found["enlarged_cardiomediastinum"] = ""
    return found


def _row(entry: tuple[str, ...], place: str) -> tuple[str, ...]:
    _, classes, _, _, age, sex, view = entry
    found = labels(set(classes.split("|")))
    return (f"{SOURCE}/{place}", sex, _age(age), "Frontal", view, *(found.get(key, "") for key in CHEXPERT.keys))


def _age(text: str) -> str:
    """Whole years; blank where they cannot be right. 058Y is 58, 011M and 024D are 0."""
    number, unit = text.rstrip("YMD"), text[-1:]
    if not number.isdigit():
        return ""
    years = 0 if unit in ("M", "D") else int(number)
    return str(years) if years <= OLDEST else ""


def _places(root: Path, problems: list[str]) -> dict[str, str]:
    """Each image's name and its path under `root`; a problem for a name that is in two folders."""
    folders = [root / "images", *sorted(folder / "images" for folder in root.glob("images_*"))]
    folders = [folder for folder in folders if folder.is_dir()]
    if not folders:
        problems.append("no folder images_*/images or images is there: unpack the archives here")
    places: dict[str, str] = {}
    twice = []
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue  # what file managers leave
            if path.name in places:
                twice.append(f"{path.relative_to(root).as_posix()} and {places[path.name]}")
            places[path.name] = path.relative_to(root).as_posix()
    if twice:
        problems.append(f"{len(twice):,} images are in two folders: {listed(twice)}")
    return places


def _check_rows(table: str, entries: pd.DataFrame, problems: list[str]) -> None:
    for row, (name, classes, _, patient, _, sex, view) in enumerate(entries.itertuples(index=False, name=None)):
        where = f"{table}, line {row + 2}"
        strange = sorted(set(classes.split("|")) - CLASSES)
        if strange:
            problems.append(f"{where}: {strange[0]!r} is no class of {SOURCE}")
        if not name.startswith(f"{patient.zfill(8)}_"):
            problems.append(f"{where}: {name} is said to be of patient {patient}")
        if sex not in ("M", "F", ""):
            problems.append(f"{where}: Patient Gender is {sex!r}: must be M or F")
        if view.lower() not in PROJECTIONS:
            problems.append(f"{where}: View Position is {view!r}: must be AP or PA")


def _split(lists: dict[str, Path], known: set[str], table: str, problems: list[str]) -> dict[str, str]:
    """By image `train` or `valid`; a problem for images in both lists or twice in one, or that the table lacks."""
    split: dict[str, str] = {}
    for name, path in lists.items():
        try:
            listed_images = path.read_text(encoding="utf-8-sig").split()
        except UnicodeDecodeError:
            raise InputError(f"{path}: is not UTF-8 text (get this file again)") from None
        twice = [image for image, count in Counter(listed_images).items() if count > 1]
        if twice:
            problems.append(f"{path.name}: {len(twice):,} images are there twice: {listed(twice)}")
        both = [image for image in dict.fromkeys(listed_images) if image in split]
        if both:
            problems.append(f"{len(both):,} images are in both lists: {listed(both)}")
        strange = [image for image in listed_images if image not in known]
        if strange:
            problems.append(f"{path.name}: {len(strange):,} images are in no row of {table}: {listed(strange)}")
        split |= dict.fromkeys(listed_images, name)
    return split


if __name__ == "__main__":
    sys.exit(main("nih", import_nih, f"Writes CheXpert-style tables for {SOURCE} into its folder."))
