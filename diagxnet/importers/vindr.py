"""VinDr-CXR as CheXpert's tables: `python -m diagxnet.importers.vindr DIR`.

Nguyen et al., "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations", Scientific Data 2022,
arXiv:2012.15029; PhysioNet, doi:10.13026/3akn-b287, under a data use agreement. 18,000 PA radiographs of two hospitals
in Vietnam as DICOM, `train/` (15,000) and `test/` (3,000). `annotations/image_labels_train.csv` has a row for each of
the three radiologists who read a film (columns image_id, rad_id and 28 classes, 1 or 0), `image_labels_test.csv` a
row a film, the consensus of five.

What a finding becomes: 1 where more than half of a film's readers saw one of its classes, 0 where none did, and -1
where some did and no majority: `data.uncertain` says what those are in training, and `zeros` makes them what the
majority said. `mapping.json` counts how often all readers agreed.

Its quirks: no patient is named, so that each image must be taken for another patient's, and the user must say so. The
last class is `Other diseases` in one table and `Other disease` in the other. Local classes (boxes) and global ones are
taken alike. Sex and age are in the DICOM headers, often blank, and are not read.
"""

import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.importers.release import Imported, find_table, finish, main, read_columns, report_missing
from diagxnet.trained_on import listed

SOURCE = "VinDr-CXR"
TABLES = {"train": "image_labels_train.csv*", "valid": "image_labels_test.csv*"}
FOLDERS = {"train": "train", "valid": "test"}
MAPPING = {
    "no_finding": ["No finding"],
    "enlarged_cardiomediastinum": ["Cardiomegaly"],
    "cardiomegaly": ["Cardiomegaly"],
    "lung_opacity": ["Lung Opacity", "Infiltration", "Consolidation", "Edema", "Atelectasis", "ILD", "Nodule/Mass"],
    "lung_lesion": ["Nodule/Mass", "Lung tumor"],
    "edema": ["Edema"],
    "consolidation": ["Consolidation"],
    "pneumonia": ["Pneumonia"],
    "atelectasis": ["Atelectasis"],
    "pneumothorax": ["Pneumothorax"],
    "pleural_effusion": ["Pleural effusion"],
    "pleural_other": ["Pleural thickening"],
    "fracture": ["Rib fracture", "Clavicle fracture"],
}
"""Classes of VinDr-CXR that make a finding positive; Support Devices have none."""

UNUSED = ["Aortic enlargement", "Calcification", "COPD", "Emphysema", "Enlarged PA", "Lung cavity", "Lung cyst"]
UNUSED += ["Mediastinal shift", "Other lesion", "Pulmonary fibrosis", "Tuberculosis"]
CLASSES = sorted({name for names in MAPPING.values() for name in names} | set(UNUSED))
VOTES = {"1": True, "0": False, "1.0": True, "0.0": False, "": False}
NOTES = [
    "Enlarged Cardiomediastinum is 1 or -1 as Cardiomegaly is, 0 with No Finding and blank otherwise: VinDr-CXR has no "
    "such class, and Cardiomegaly implies it in CheXpert's hierarchy",
    "-1: some of the film's readers saw it, and no majority",
]


def import_vindr(root: Path, *, partial: bool = False) -> Imported:
    """Reads the release in `root`; partial: whether images that are named and not there are left out.

    Raises one InputError for everything that is missing, renamed or doubled.
    """
    problems: list[str] = []
    folder = root / "annotations"
    if not folder.is_dir():
        problems.append("folder annotations is missing: it holds image_labels_train.csv and image_labels_test.csv")
    paths = {name: find_table(folder, table, problems) for name, table in TABLES.items()} if folder.is_dir() else {}
    finish(root, problems)
    rows: dict[str, list[tuple[str, ...]]] = {}
    missing, agreement = 0, Counter()
    for name, path in paths.items():
        votes = _votes(path, name == "train", problems)
        places = _places(root, FOLDERS[name], problems)
        lost = [image for image in votes if image not in places]
        if not partial:
            report_missing(f"{FOLDERS[name]}/", lost, sorted(set(places) - set(votes)), problems)
        missing += len(lost)
        rows[name] = [_row(places[image], own, agreement) for image, own in votes.items() if image in places]
    finish(root, problems)
    patients = {name: [row[0] for row in own] for name, own in rows.items()}
    notes = [*NOTES, *(_agreement(key, agreement) for key in MAPPING if agreement[key, "seen"])]
    left_out = {"not in train/ or test/": missing} if missing else {}
    return Imported(SOURCE, rows, patients, MAPPING, UNUSED, left_out, notes, {"patient": "Path"})


def labels(votes: list[set[str]]) -> dict[str, str]:
    """By finding key 1.0, 0.0, -1.0 or blank, of the classes that each reader of a film saw."""
    found = {}
    for key, classes in MAPPING.items():
        seen = sum(not own.isdisjoint(classes) for own in votes)
        found[key] = "1.0" if 2 * seen > len(votes) else "-1.0" if seen else "0.0"
    if found["cardiomegaly"] == "0.0" and found["no_finding"] != "1.0":
        found["enlarged_cardiomediastinum"] = ""
    return found


def _row(place: str, votes: list[set[str]], agreement: Counter) -> tuple[str, ...]:
    found = labels(votes)
    for key, classes in MAPPING.items():
        seen = sum(not own.isdisjoint(classes) for own in votes)
        agreement[key, "seen"] += len(votes) > 1 and seen > 0
        agreement[key, "by all"] += len(votes) > 1 and seen == len(votes)
    return (f"{SOURCE}/{place}", "", "", "Frontal", "PA", *(found.get(key, "") for key in CHEXPERT.keys))


def _agreement(key: str, agreement: Counter) -> str:
    seen, by_all = agreement[key, "seen"], agreement[key, "by all"]
    return f"{CHEXPERT.titles[key]}: seen by a reader in {seen:,} films of several, by all of them in {by_all:,}"


def _votes(path: Path, by_reader: bool, problems: list[str]) -> dict[str, list[set[str]]]:
    """By image the classes that each of its readers saw; a problem for a reader who is there twice and other cells."""
    frame = read_columns(path, ("image_id", *(["rad_id"] if by_reader else []), *CLASSES))
    frame["rad_id"] = frame["rad_id"] if by_reader else ""
    twice = frame[frame.duplicated(["image_id", "rad_id"])]
    if len(twice):
        problems.append(f"{path.name}: {len(twice):,} readings are there twice: {listed(twice['image_id'].tolist())}")
    for name in CLASSES:
        strange = frame.index[~frame[name].isin(VOTES)]
        if len(strange):
            problems.append(
                f"{path.name}, line {strange[0] + 2}: {name} is {frame.at[strange[0], name]!r}: must be 1, 0 or blank"
            )
    return _by_image(frame)


def _by_image(frame: pd.DataFrame) -> dict[str, list[set[str]]]:
    votes: dict[str, list[set[str]]] = {}
    seen = frame[CLASSES].isin([value for value, said in VOTES.items() if said]).to_numpy()
    for image, row in zip(frame["image_id"], seen, strict=True):
        votes.setdefault(image, []).append({name for name, said in zip(CLASSES, row, strict=True) if said})
    return votes


def _places(root: Path, folder: str, problems: list[str]) -> dict[str, str]:
    """Each image's name without its ending, and its path under `root`; a problem where it is there in two forms."""
    if not (root / folder).is_dir():
        problems.append(f"folder {folder} is missing: the images lie in it, as {folder}/0a1b2c.dicom")
        return {}
    places: dict[str, str] = {}
    twice = []
    for path in sorted((root / folder).iterdir()):
        if path.name.startswith("."):
            continue
        if path.stem in places:
            twice.append(f"{folder}/{path.name} and {places[path.stem]}")
        places[path.stem] = f"{folder}/{path.name}"
    if twice:
        problems.append(f"{len(twice):,} images are there in two forms: {listed(twice)}")
    return places


if __name__ == "__main__":
    sys.exit(main("vindr", import_vindr, f"Writes CheXpert-style tables for {SOURCE} into its folder."))
