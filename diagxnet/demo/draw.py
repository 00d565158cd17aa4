"""The drawn data set: the folder that CheXpert's release would be, from a seed.

Layout and columns are those of CheXpert-v1.0 (Irvin et al. 2019): `train.csv`, `valid.csv`, and the images under
`train/` and `valid/`. `regions.csv` is ours: where each sign was drawn.
"""

import csv
import io
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from diagxnet.console.cores import cores
from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import replacing, write_text
from diagxnet.demo.anatomy import draw_anatomy
from diagxnet.demo.labels import Study, plan_studies
from diagxnet.demo.render import render_view

COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT.names)
REGION_COLUMNS = ("Path", "finding", "left", "top", "right", "bottom")
FIRST_VALID_PATIENT = 64541
"""As in the release; the patients of train.csv are numbered from 1."""
MOST_IMAGES = 80_000
"""Of train.csv: a patient has about 1.7 images, and the numbers below `FIRST_VALID_PATIENT` must suffice."""
QUALITY = 90
SMALL = 64
"""Images below which starting processes costs more than it saves."""


@dataclass(frozen=True)
class PatientPlan:
    """One patient of a share: the number, and the studies with the views that count."""

    share: str
    number: int
    studies: tuple[Study, ...]

    @property
    def images(self) -> int:
        return sum(len(study.views) for study in self.studies)


def draw_demo(folder: Path, *, images: int, test_images: int, seed: int, size: int, workers: int | None = None) -> None:
    """Draws the data set into `folder`: tables and 8-bit grey JPEGs, the same bytes for any number of `workers`.

    `images` and `test_images` count the rows of train.csv and valid.csv; `size` is the images' height in pixels,
    their width 39/32 of it; `workers` defaults to the cores that this process may use.
    """
    if images > MOST_IMAGES:
        raise InputError(f"demo.images is {images:,}, the demo has patients for {MOST_IMAGES:,} images: ask for fewer")
    plans = [*plan_patients("train", images, seed), *plan_patients("valid", test_images, seed)]
    jobs = [(plan, seed, size, Path(folder)) for plan in plans]
    total = images + test_images
    workers = (cores() if workers is None else workers) if total >= SMALL or workers else 1
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "valid": []}
    regions = []
    with Progress(total, "Drawing the demo") as progress:
        for plan, (drawn, found) in zip(plans, _draw_all(jobs, workers), strict=True):
            rows[plan.share] += drawn
            regions += found
            progress.update(plan.images)
    write_text(Path(folder) / "train.csv", _csv(COLUMNS, rows["train"]))
    write_text(Path(folder) / "valid.csv", _csv(COLUMNS, rows["valid"]))
    write_text(Path(folder) / "regions.csv", _csv(REGION_COLUMNS, regions))


def plan_patients(share: str, images: int, seed: int) -> list[PatientPlan]:
    """Patients until there are `images` views, the last one cut to fit; `share` is `train` or `valid`."""
    plans, left = [], images
    number = FIRST_VALID_PATIENT if share == "valid" else 1
    while left > 0:
        plan = PatientPlan(share, number, _cut(plan_studies(seed, number, share), left))
        plans.append(plan)
        left -= plan.images
        number += 1
    return plans


def _cut(studies: list[Study], left: int) -> tuple[Study, ...]:
    kept = []
    for study in studies:
        if left <= 0:
            break
        kept.append(Study(study.number, study.signs, study.labels, study.views[:left]))
        left -= len(kept[-1].views)
    return tuple(kept)


def _draw_all(jobs: list[tuple], workers: int) -> Iterator[tuple[list, list]]:
    if workers == 1:
        yield from map(_draw_patient, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_draw_patient, jobs, chunksize=8)


def _draw_patient(job: tuple[PatientPlan, int, int, Path]) -> tuple[list[tuple[str, ...]], list[tuple]]:
    """Draws and writes one patient's images; returns the rows of the table and of the regions."""
    plan, seed, size, folder = job
    anatomy = draw_anatomy(seed, plan.number)
    rows, regions = [], []
    for study in plan.studies:
        for index, view in enumerate(study.views, start=1):
            film, boxes = render_view(seed, plan.number, study.number, anatomy, study.signs, view, size)
            inside = f"{plan.share}/patient{plan.number:05d}/study{study.number}/view{index}_{view.name}.jpg"
            _write_jpeg(folder / inside, film)
            path = f"{folder.name}/{inside}"
            sex = "Female" if anatomy.female else "Male"
            labels = [study.labels[key] for key in CHEXPERT.keys]
            rows.append((path, sex, str(anatomy.age), view.name.capitalize(), view.projection, *labels))
            for key, box in boxes:
                regions.append((path, CHEXPERT.titles[key], box.left, box.top, box.right, box.bottom))
    return rows, regions


def _write_jpeg(path: Path, film) -> None:
    with replacing(path) as temporary:
        Image.fromarray(film).save(temporary, format="JPEG", quality=QUALITY, subsampling=0, optimize=False)


def _csv(columns: tuple[str, ...], rows: list[tuple]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
