"""Small data sets in CheXpert's layout, as the tests of the data layer need them."""

import csv
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from diagxnet.data.chexpert import CHEXPERT

HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT.names]


@dataclass
class Row:
    """A table row; `labels` maps a finding to what the table says, the others are blank."""

    path: str
    sex: str = "Female"
    age: str = "50"
    view: str = "Frontal"
    projection: str = "AP"
    labels: dict[str, str] = field(default_factory=dict)

    def cells(self) -> list[str]:
        labels = [self.labels.get(finding, "") for finding in CHEXPERT.names]
        return [f"release/{self.path}", self.sex, self.age, self.view, self.projection, *labels]


def image_path(patient: int, study: int = 1, view: int = 1, table: str = "train") -> str:
    return f"{table}/patient{patient:05d}/study{study}/view{view}_frontal.jpg"


def write_table(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *(row.cells() for row in rows)])


def write_image(path: Path, seed: int | None = None, size: tuple[int, int] = (48, 40)) -> None:
    """A grey image of noise, `size` is (width, height) in pixels. seed: by default another for each place below its
    data set's folder, as equal images are one film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32("/".join(path.parts[-4:]).encode()) if seed is None else seed
    noise = np.random.default_rng(seed).integers(0, 256, size=(size[1], size[0]), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def make_data(root: Path, train: int = 40, valid: int = 6) -> None:
    """So many patients of one image each: every third has Edema, every fifth of the others perhaps.

    No Finding is 1 or blank, as in CheXpert's train.csv.
    """
    for table, first, count in (("train", 0, train), ("valid", 90_000, valid)):
        rows = []
        for patient in range(first, first + count):
            edema = "1.0" if patient % 3 == 0 else "-1.0" if patient % 5 == 0 else "0.0"
            rows.append(
                Row(
                    image_path(patient, table=table),
                    labels={"Edema": edema, "No Finding": "1.0" if edema == "0.0" else ""},
                )
            )
            write_image(root / rows[-1].path, seed=patient)
        if rows:
            write_table(root / f"{table}.csv", rows)
