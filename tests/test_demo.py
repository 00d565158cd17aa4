"""The drawn data set: its layout, its labels, its boxes, and that a seed fixes every byte."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT, PARENTS
from diagxnet.demo.anatomy import draw_anatomy
from diagxnet.demo.canvas import Curve, Frame, blur
from diagxnet.demo.draw import COLUMNS, draw_demo, plan_patients
from diagxnet.demo.labels import SHARES, Sign, View
from diagxnet.demo.render import render_view

IMAGES, TEST_IMAGES, SIZE = 20, 8, 64
VIEWS = [View("frontal", "AP"), View("frontal", "PA"), View("lateral", "")]
PUBLISHED = {
    "no_finding": 0.0886,
    "edema": 0.2606,
    "atelectasis": 0.1563,
    "cardiomegaly": 0.1247,
    "pleural_effusion": 0.4034,
    "pneumothorax": 0.0932,
    "lung_opacity": 0.4939,
    "support_devices": 0.5640,
}
"""Shares of positive studies, Irvin et al. 2019, table 1, of the findings that the demo does not make more frequent."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "demo"
    draw_demo(folder, images=IMAGES, test_images=TEST_IMAGES, seed=3, size=SIZE, workers=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)


def planned(share: str, images: int, seed: int = 5) -> pd.DataFrame:
    """Labels of the studies that would be drawn, one row each."""
    studies = [study for plan in plan_patients(share, images, seed) for study in plan.studies]
    return pd.DataFrame([study.labels for study in studies])


def test_two_workers_draw_the_same_bytes_as_one(demo, tmp_path):
    draw_demo(tmp_path / "demo", images=IMAGES, test_images=TEST_IMAGES, seed=3, size=SIZE, workers=2)
    assert contents(tmp_path / "demo") == contents(demo)


def test_another_seed_draws_other_patients(demo, tmp_path):
    draw_demo(tmp_path / "demo", images=4, test_images=1, seed=4, size=SIZE, workers=1)
    first = "train/patient00001/study1/view1_frontal.jpg"
    assert contents(tmp_path / "demo")[first] != contents(demo)[first]


def test_a_larger_demo_begins_with_the_smaller_one():
    small, large = plan_patients("train", 12, 3), plan_patients("train", 40, 3)
    assert large[: len(small) - 1] == small[:-1]


def test_the_tables_have_the_columns_and_rows_of_chexpert(demo):
    for name, rows in (("train", IMAGES), ("valid", TEST_IMAGES)):
        drawn = table(demo, name)
        assert tuple(drawn.columns) == COLUMNS == ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT.names)
        assert len(drawn) == rows
        assert drawn["Path"].str.fullmatch(rf"demo/{name}/patient\d{{5}}/study\d/view\d_(frontal|lateral)\.jpg").all()


def test_every_row_names_a_grey_jpeg_of_the_asked_height(demo):
    paths = [path for name in ("train", "valid") for path in table(demo, name)["Path"]]
    assert sorted(paths) == sorted(f"demo/{path}" for path in contents(demo) if path.endswith(".jpg"))
    for path in paths:
        with Image.open(demo.parent / path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "L", (round(SIZE * 390 / 320), SIZE))


def test_valid_labels_are_certain_and_train_labels_are_those_of_reports():
    assert set(np.unique(planned("valid", 300))) == {"0.0", "1.0"}
    assert set(np.unique(planned("train", 300))) == {"", "-1.0", "0.0", "1.0"}


def test_no_finding_is_positive_or_blank_and_excludes_everything_but_devices():
    labels = planned("train", 2000)
    assert set(labels["no_finding"]) == {"", "1.0"}
    healthy = labels[labels["no_finding"] == "1.0"].drop(columns=["no_finding", "support_devices"])
    assert not healthy.isin(["1.0", "-1.0"]).any(axis=None)


@pytest.mark.parametrize("share", ["train", "valid"])
def test_a_positive_child_makes_its_parent_positive(share):
    labels = planned(share, 1500)
    for child, parent in PARENTS.items():
        assert (labels.loc[labels[child] == "1.0", parent] == "1.0").all(), (child, parent)


def test_the_shares_of_positives_are_near_the_published_ones():
    positive = (planned("train", 6000) == "1.0").mean()
    for key, share in PUBLISHED.items():
        assert positive[key] == pytest.approx(share, abs=0.04), key
    assert positive.min() > 0.05


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_two_hundred_test_images_have_a_dozen_positives_of_each_finding(seed):
    rows = [study.labels for plan in plan_patients("valid", 200, seed) for study in plan.studies for _ in study.views]
    assert (pd.DataFrame(rows) == "1.0").sum().min() >= 12


def test_no_patient_is_in_both_tables(demo):
    train, valid = (set(table(demo, name)["Path"].str.split("/").str[2]) for name in ("train", "valid"))
    assert not train & valid


def test_lateral_views_are_a_seventh_of_the_rows_and_follow_a_frontal_of_the_same_study():
    studies = [study for plan in plan_patients("train", 3000, 5) for study in plan.studies]
    views = [[view.name for view in study.views] for study in studies]
    assert {tuple(names) for names in views} == {("frontal",), ("frontal", "lateral")}
    assert sum(len(names) - 1 for names in views) / 3000 == pytest.approx(0.14, abs=0.03)
    assert all(
        view.projection in {"frontal": ("AP", "PA"), "lateral": ("",)}[view.name] for s in studies for view in s.views
    )


def test_a_sign_that_stays_keeps_its_place_from_study_to_study():
    anatomy = draw_anatomy(3, 12)
    boxes = [
        render_view(3, 12, 1, anatomy, {"lung_lesion": Sign(0.8, origin)}, VIEWS[0], SIZE)[1] for origin in (1, 1, 2)
    ]
    assert boxes[0] == boxes[1] != boxes[2]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name + view.projection)
@pytest.mark.parametrize("key", SHARES)
def test_each_box_is_inside_the_film_which_differs_there_without_the_sign(key, view):
    anatomy = draw_anatomy(3, 21)
    others = {"support_devices": Sign(0.6, 1)} if key != "support_devices" else {}
    film, boxes = render_view(3, 21, 1, anatomy, {**others, key: Sign(0.9, 1)}, view, 128)
    without, _ = render_view(3, 21, 1, anatomy, others, view, 128)
    changed = np.abs(film.astype(int) - without)
    found = [box for name, box in boxes if name == key]
    assert found
    for box in found:
        assert 0 <= box.left < box.right <= film.shape[1]
        assert 0 <= box.top < box.bottom <= film.shape[0]
        assert changed[box.slices].max() >= 8, (key, box)


def test_regions_name_images_of_the_tables_and_signs_of_the_findings(demo):
    with open(demo / "regions.csv", encoding="utf-8", newline="") as file:
        regions = list(csv.DictReader(file))
    paths = {path for name in ("train", "valid") for path in table(demo, name)["Path"]}
    assert regions
    assert {row["Path"] for row in regions} <= paths
    assert {row["finding"] for row in regions} <= set(CHEXPERT.names) - {"No Finding"}


def test_more_images_than_patients_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"demo\.images"):
        draw_demo(tmp_path, images=100_000, test_images=1, seed=1, size=SIZE)
    assert not list(tmp_path.iterdir())


def test_a_turned_frame_finds_its_own_pixels():
    frame = Frame(100, degrees=5.0, zoom=1.1, shift_x=0.03, shift_y=-0.02)
    column, row = frame.pixels(frame.x[40, 70], frame.y[40, 70])
    assert (float(column), float(row)) == pytest.approx((70, 40), abs=1e-3)


def test_a_curve_meets_its_knots_and_stays_between_them():
    knots = [(0.0, 0.1), (0.2, 0.5), (0.5, 0.5), (0.9, 0.2)]
    curve = Curve(knots)
    for place, value in knots:
        assert float(curve(place)) == pytest.approx(value, abs=2e-3)
    assert curve.values.min() >= 0.1 - 1e-9
    assert curve.values.max() <= 0.5 + 1e-9


def test_a_blur_keeps_the_mean_of_what_is_far_from_the_border():
    image = np.zeros((41, 41), np.float32)
    image[20, 20] = 1
    blurred = blur(image, 4.5)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    assert blurred[20, 20] == blurred.max() < 0.2


def test_keys_of_the_plan_are_those_of_the_findings():
    labels = plan_patients("train", 1, 1)[0].studies[0].labels
    assert tuple(labels) == CHEXPERT.keys
