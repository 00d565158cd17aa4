"""Small trees in the layouts of ChestX-ray14 and MIMIC-CXR-JPG."""

import csv
import gzip
from pathlib import Path

from diagxnet.data.chexpert import CHEXPERT
from tests.radiographs import write_image

NIH_HEADER = [
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position",
    "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", "",
]  # fmt: skip
NIH_ROWS = [
    ("00000001_000.png", "Cardiomegaly|Emphysema", "0", "1", "058Y", "M", "PA"),
    ("00000001_001.png", "Nodule|Infiltration", "1", "1", "59", "M", "AP"),
    ("00000002_000.png", "No Finding", "0", "2", "411", "F", "PA"),
    ("00000013_000.png", "Effusion|Pleural_Thickening|Edema", "0", "13", "007M", "F", "AP"),
]
NIH_LISTS = {
    "train_val_list.txt": ["00000001_000.png", "00000001_001.png", "00000002_000.png"],
    "test_list.txt": ["00000013_000.png"],
}


def make_nih(root: Path, rows: list[tuple[str, ...]] = NIH_ROWS) -> Path:
    """Four images of three patients in two of the folders."""
    root.mkdir(parents=True)
    table = [[*row, "2500", "2048", "0.168", "0.168", ""] for row in rows]
    _write(root / "Data_Entry_2017_v2020.csv", [NIH_HEADER, *table])
    for name, images in NIH_LISTS.items():
        (root / name).write_text("\n".join(images) + "\n", encoding="utf-8")
    for seed, row in enumerate(NIH_ROWS):
        write_image(root / f"images_00{1 + (seed == 3)}/images/{row[0]}", seed=seed)
    return root


MIMIC_IMAGES = [
    ("aaa", "10000032", "50414267", "PA", "train", {"Edema": "1.0", "Pneumonia": "-1.0"}),
    ("bbb", "10000032", "50414267", "LATERAL", "train", {"Edema": "1.0", "Pneumonia": "-1.0"}),
    ("ccc", "10000764", "57375967", "AP", "validate", {"No Finding": "1.0"}),
    ("ddd", "10000898", "50771383", "", "train", {"No Finding": "1.0"}),
    ("eee", "19999987", "55368167", "AP", "test", {"Fracture": "0.0"}),
    ("fff", "19999987", "58621812", "AP", "test", None),
]
"""dicom_id, subject_id, study_id, ViewPosition, split, labels (None: the study has none)."""


def make_mimic(root: Path, images: list[tuple] = MIMIC_IMAGES) -> Path:
    """Six images of four patients; of one the view is not known, of another the study has no labels."""
    root.mkdir(parents=True)
    metadata = [[*image[:3], image[3]] for image in images]
    split = [[image[0], image[2], image[1], image[4]] for image in images]
    labels = {
        image[2]: [image[1], image[2], *(image[5].get(f, "") for f in CHEXPERT.names)] for image in images if image[5]
    }
    _write(
        root / "mimic-cxr-2.0.0-metadata.csv.gz", [["dicom_id", "subject_id", "study_id", "ViewPosition"], *metadata]
    )
    _write(root / "mimic-cxr-2.0.0-split.csv.gz", [["dicom_id", "study_id", "subject_id", "split"], *split])
    _write(root / "mimic-cxr-2.0.0-chexpert.csv.gz", [["subject_id", "study_id", *CHEXPERT.names], *labels.values()])
    for seed, (dicom, subject, study, *_) in enumerate(MIMIC_IMAGES):
        write_image(root / f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg", seed=seed)
    return root


def _write(path: Path, rows: list[list[str]]) -> None:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
