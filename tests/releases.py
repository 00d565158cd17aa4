"""Small trees in the layouts of ChestX-ray14, MIMIC-CXR-JPG, VinDr-CXR and PadChest, and of CheXpert as it arrives."""

import csv
import gzip
from pathlib import Path

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.importers.vindr import CLASSES
from tests.radiographs import HEADER, Row, image_path, write_image, write_table

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


VINDR_READINGS = {
    "0a1": [{"Cardiomegaly", "Rib fracture"}, {"Cardiomegaly"}, {"Cardiomegaly", "Nodule/Mass", "Other lesion"}],
    "0b2": [{"No finding"}, {"No finding"}, {"Edema"}],
    "0c3": [{"No finding"}] * 3,
}
"""By film of train what each of three readers saw."""

VINDR_TEST = {"0d4": {"Pleural effusion", "Lung tumor"}}


def make_vindr(root: Path) -> Path:
    """Three films that three readers read, one with a consensus; their files end in .dicom, whatever they are."""
    classes = [*CLASSES, "Other disease"]
    train = [
        (image, f"R{reader}", *(str(int(name in seen)) for name in classes))
        for image, readers in VINDR_READINGS.items()
        for reader, seen in enumerate(readers, start=8)
    ]
    test = [(image, *(f"{name in seen:.1f}" for name in classes)) for image, seen in VINDR_TEST.items()]
    (root / "annotations").mkdir(parents=True)
    _write(root / "annotations/image_labels_train.csv", [["image_id", "rad_id", *classes], *train])
    _write(root / "annotations/image_labels_test.csv", [["image_id", *classes], *test])
    for folder, images in (("train", VINDR_READINGS), ("test", VINDR_TEST)):
        for image in images:
            write_image(root / folder / f"{image}.png")
            (root / folder / f"{image}.png").rename(root / folder / f"{image}.dicom")
    return root


FIRST_LIST = "['cardiomegaly', ' pleural effusion', '', 'scoliosis']"
PADCHEST_ROWS = [
    ("a1.png", "0", "20140915", "S1", "P1", "1930.0", "F", "PA", FIRST_LIST),
    ("a2.png", "0", "20140915", "S1", "P1", "1930.0", "F", "L", FIRST_LIST),
    ("b1.png", "17", "20100101", "S2", "P2", "1990", "M", "AP_horizontal", "['normal']"),
    ("c1.png", "17", "20100101", "S3", "P3", "", "O", "PA", "['NSG tube', 'callus rib fracture', 'nodule']"),
    ("d1.png", "17", "20100101", "S4", "P4", "1950", "M", "PA", ""),
    ("e1.png", "17", "20100101", "S5", "P5", "1950", "M", "PA", "['unchanged']"),
    ("f1.png", "17", "20100101", "S6", "P6", "1950", "M", "COSTAL", "['normal']"),
    ("g1.png", "17", "20100101", "S7", "P7", "1950", "M", "PA", "['exclude', 'cardiomegaly']"),
]
PADCHEST_HEADER = ["ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM"]
PADCHEST_HEADER += ["Projection", "Labels"]


def make_padchest(root: Path, rows: list[tuple[str, ...]] = PADCHEST_ROWS) -> Path:
    """Eight images of seven patients, four of which cannot be used."""
    root.mkdir(parents=True, exist_ok=True)
    table = [[number, *row, "PED"] for number, row in enumerate(rows)]
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    _write(root / name, [["", *PADCHEST_HEADER, "Pediatric"], *table])
    for image, folder, *_ in PADCHEST_ROWS:
        write_image(root / folder / image)
    return root


BATCHES = (
    "CheXpert-v1.0 batch 1 (validate & csv)",
    "CheXpert-v1.0 batch 2 (train 1)",
    "CheXpert-v1.0 batch 3 (train 2)",
)


def make_batches(root: Path, patients: int = 40, valid: int = 20) -> Path:
    """CheXpert at full resolution as its archives unpack: tables and valid/ in the first folder, train's patients, who
    have no folder above them, in the others, a half each."""
    rows = []
    for number in range(1, patients + 1):
        rows.append(Row(image_path(number), labels={"Edema": str(number % 2)}))
        batch = BATCHES[1 + (2 * number > patients)]
        write_image(root / batch / rows[-1].path.partition("/")[2], seed=number)
    write_table(root / BATCHES[0] / "train.csv", rows)
    rows = [Row(image_path(64_541 + n, table="valid"), labels={"Edema": str(n % 2)}) for n in range(valid)]
    for row in rows:
        write_image(root / BATCHES[0] / row.path, seed=int(row.path[13:18]))
    write_table(root / BATCHES[0] / "valid.csv", rows)
    return root


def make_test_set(folder: Path, by_study: bool, studies: int = 20) -> Path:
    """CheXpert's test set, `folder`/test and its table, whose path is returned: a row a study as in groundtruth.csv, or
    a row an image as in CheXlocalize's test_labels.csv; no sex, age, view or AP/PA. Every third study has a lateral."""
    rows = []
    for number in range(studies):
        study = f"test/patient{64_741 + number}/study1"
        images = [f"{study}/view1_frontal.jpg", *([f"{study}/view2_lateral.jpg"] if number % 3 == 0 else [])]
        labels = [str(int(finding == "Edema" and number % 2)) for finding in CHEXPERT.names]
        for image in images:
            write_image(folder / image)
        rows += [[f"CheXpert-v1.0/{study}", *labels]] if by_study else [[image, *labels] for image in images]
    name = folder / ("groundtruth.csv" if by_study else "test_labels.csv")
    _write(name, [["Study" if by_study else "Path", *HEADER[5:]], *rows])
    return name


def _write(path: Path, rows: list[list[str]]) -> None:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
