"""Whose an image is: by a name that leaves no doubt or by a column, and never by a folder's place."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagxnet.audit.patients import strangers
from diagxnet.console.errors import InputError
from diagxnet.data.splits import SPLITS
from diagxnet.importers.release import Imported, check_patients
from diagxnet.labels.prepare import assign_rows, grouping
from diagxnet.reading.columns import Columns
from diagxnet.reading.paths import owner_of, under_root
from diagxnet.reading.tables import read_paths, read_tables
from tests.radiographs import Row, image_path, write_table
from tests.releases import BATCHES, make_batches, make_test_set

SHARES = {"val": 0.25, "stack": 0.25, "test": 0.25}

LAYOUTS = {
    "CheXpert": ("train/patient00001/study1/view1_frontal.jpg", "patient00001", "study1"),
    "CheXpert's test set": ("test/patient64741/study1/view1_frontal.jpg", "patient64741", "study1"),
    "CheXphoto": ("train/synthetic/digital/patient00001/study1/view1_frontal.jpg", "patient00001", "study1"),
    "MURA": ("train/XR_SHOULDER/patient00001/study1_positive/image1.png", "patient00001", "study1_positive"),
    "MIMIC-CXR-JPG": ("files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg", "p10000032", "s50414267"),
    "MIMIC-CXR": ("files/p10/p10000032/s50414267/02aa804e-bde0afdd.dcm", "p10000032", "s50414267"),
    "ChestX-ray14": ("images/00000001_000.png", "00000001", "000"),
    "ChestX-ray14 by archive": ("images_001/images/00000001_000.png", "00000001", "000"),
    "BIMCV-COVID19+": ("sub-S03693/ses-E08061/mod-rx/sub-S03693_ses-E08061_run-2_dx.png", "sub-S03693", "ses-E08061"),
    "PadChest": ("0/216840111366964013829543166512013338135747880_02-094-102.png", None, None),
    "BRAX": ("images/id_0a8e2f3b/Study_57654123.11/Series_75643/image-1.png", None, None),
    "VinDr-CXR": ("train/000434271f63a053c4128a0ba6352c7f.png", None, None),
    "RSNA Pneumonia": ("stage_2_train_images/0004cfab-14fd-4e49-80ba-63a80b6bddd6.png", None, None),
    "SIIM-ACR": ("dicom-images-train/1.2.276.0.723/1.2.276.0.724/1.2.276.0.725.png", None, None),
    "RANZCR CLiP": ("train/1.2.826.0.1.3680043.8.498.26697628953273228189375557799582420561.jpg", None, None),
    "Kermany": ("train/PNEUMONIA/person1_bacteria_1.jpeg", None, None),
    "Montgomery": ("CXR_png/MCUCXR_0001_0.png", None, None),
    "Open-i": ("images/CXR1000_IM-0003-1001.png", None, None),
    "COVID-19 Radiography": ("COVID/images/COVID-1.png", None, None),
    "a hospital's export by date": ("PID1/20200101/ser1/i.png", None, None),
    "a hospital's files by date": ("images/20200101_001.png", None, None),
}
"""An image of each data set as published, and the patient and study that its path names; None: refused."""


def tree(folder: Path, paths: list[str], patients: list[str] | None = None) -> Path:
    """A train.csv of images at `paths`; with a column PID where `patients` are given."""
    write_table(folder / "train.csv", [Row(path) for path in paths])
    if patients is not None:
        frame = pd.read_csv(folder / "train.csv", dtype=str, keep_default_na=False)
        frame.assign(PID=patients).to_csv(folder / "train.csv", index=False)
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_of_a_published_layout_the_path_names_the_patient_or_the_table_is_refused(name, tmp_path):
    path, patient, study = LAYOUTS[name]
    tree(tmp_path, [path])
    if patient is None:
        with pytest.raises(InputError, match=r"1 of 1 rows do not say which patient .* data\.columns\.patient"):
            read_tables(tmp_path)
    else:
        frame = read_tables(tmp_path)[0].frame
        assert (frame["patient"][0], frame["study"][0]) == (patient, f"{patient}/{study}")


def test_a_tree_of_patients_and_dates_is_refused_with_what_it_would_make(tmp_path):
    paths = [f"PID{patient}/{date}/ser1/i.png" for patient in range(10) for date in (20200101, 20210101)]
    with pytest.raises(InputError) as refusal:
        read_tables(tree(tmp_path, paths))
    assert "line 2 first: 'PID0/20200101/ser1/i.png' (3 folders deep" in str(refusal.value)
    assert "at level 1, 2, 3 would make 10, 2, 1 patients, of 20 studies" in str(refusal.value)
    assert "take those rows out" not in str(refusal.value)


def test_a_named_column_holds_the_patient_whatever_the_path(tmp_path):
    paths = [f"PID{patient}/{date}/ser1/i.png" for patient in range(10) for date in (20200101, 20210101)]
    tree(tmp_path, paths, [path.split("/")[0] for path in paths])
    frame = read_tables(tmp_path, Columns("PID"))[0].frame
    assert frame["patient"].tolist() == [path.split("/")[0] for path in paths]
    assert frame["study"].is_unique  # nothing says which images are of one study
    studies = read_tables(tree(tmp_path, paths, ["a", "b"] * 10), Columns("PID", None))[0].frame["study"]
    assert studies.nunique() == 20


def test_whole_numbers_that_went_through_floats_are_the_same_patients(tmp_path):
    tree(tmp_path, ["a.png", "b.png", "c.png"], ["123.0", " 123", "124.00"])
    assert read_tables(tmp_path, Columns("PID"))[0].frame["patient"].tolist() == ["123", "123", "124"]


def test_one_image_a_patient_must_be_said(tmp_path):
    tree(tmp_path, ["a.png", "b.png"])
    with pytest.raises(InputError, match="Path by default, says that each image is of another patient"):
        read_tables(tmp_path)
    assert read_tables(tmp_path, Columns("Path"))[0].frame["patient"].tolist() == ["a.png", "b.png"]


def test_a_column_may_join_patients_of_the_paths_and_their_studies_stay_apart(tmp_path):
    tree(tmp_path, [image_path(1), image_path(2)], ["7", "7"])
    frame = read_tables(tmp_path, Columns("PID"))[0].frame
    assert frame["patient"].tolist() == ["7", "7"]
    assert frame["study"].tolist() == ["7/train/patient00001/study1", "7/train/patient00002/study1"]


def test_patients_of_a_column_are_compared_between_the_tables(tmp_path):
    tree(tmp_path, ["a.png", "b.png"], ["1", "2"])
    text = (tmp_path / "train.csv").read_text(encoding="utf-8").replace("/a.png", "/v.png").replace("/b.png", "/w.png")
    (tmp_path / "valid.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"patient 1 is in train.csv \(line 2\) and in valid.csv"):
        read_tables(tmp_path, Columns("PID"))


def test_packing_reads_the_same_paths_and_lines_whoever_is_the_patient(tmp_path):
    tree(tmp_path, ["a.png", "b.png"], ["1", "2"])
    assert read_paths(tmp_path) == [("train", ["a.png", "b.png"], ["frontal", "frontal"], [2, 3], ["a.png", "b.png"])]


def test_an_importer_whose_paths_tell_patients_apart_otherwise_than_its_table_is_refused():
    rows = [(f"MIMIC-CXR-JPG/files/p10/p1000003{n}/s5041426{n}/a.jpg",) for n in (1, 2)]
    assert check_patients(Imported("R", {"train": rows}, {"train": ["1", "2"]}, {}))["patient"].nunique() == 2
    for table in (["1", "1"], ["1", "2", "3"][:2]):
        own = {"train": table}
        paths = rows if table[0] == table[1] else [rows[0], (rows[0][0].replace("a.jpg", "b.jpg"),)]
        with pytest.raises(InputError, match="could not be split by patient"):
            check_patients(Imported("R", {"train": paths}, own, {}))


BY_PATH = {"path": "Path", "patient": None, "study": None}
BY_COLUMN = {**BY_PATH, "patient": "PID"}


def manifest(paths: list[str], patients: list[str], splits: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"path": paths, "patient": patients, "split": splits})


def test_the_audit_finds_a_person_in_two_splits_whom_the_prepared_data_call_two_patients(tmp_path):
    paths = ["train/patient00001/study1/a.jpg", "other/Patient_1/study2/a.jpg", "train/patient00010/study1/a.jpg"]
    leak, source = strangers(manifest(paths, ["study1", "study2", "x"], ["train", "test", "train"]), tmp_path, BY_PATH)
    assert leak == f"1 people are in two splits by {source}, patient1 first"
    assert strangers(manifest(paths, ["1", "2", "10"], ["train"] * 3), tmp_path, BY_PATH)[0].startswith(
        "1 people are several"
    )
    assert strangers(manifest(paths, ["1", "1", "10"], ["train", "train", "test"]), tmp_path, BY_PATH)[0] is None
    assert "1 images are of nobody" in strangers(manifest(["a/b/c.png"], ["a"], ["train"]), tmp_path, BY_PATH)[0]


def test_the_audit_reads_the_named_column_anew(tmp_path):
    tree(tmp_path, ["a//1.png", "a/./2.png", "b.png"], ["7", "7.0", "8"])
    paths, patients = ["a/1.png", "a/2.png", "b.png"], ["7", "7", "8"]
    assert strangers(manifest(paths, patients, ["train", "train", "test"]), tmp_path, BY_COLUMN)[0] is None
    assert (
        "in two splits by column PID"
        in strangers(manifest(paths, "123", ["train", "test", "test"]), tmp_path, BY_COLUMN)[0]
    )
    assert (
        strangers(manifest(paths, "123", ["train", "test", "test"]), tmp_path, {**BY_PATH, "patient": "Path"})[0]
        is None
    )
    assert "are not here" in strangers(manifest(paths, patients, ["train"] * 3), tmp_path / "gone", BY_COLUMN)[1]


def with_patients(table: Path, place: str) -> None:
    """Adds a column PID with the patient's number, which the paths in the column `place` tell."""
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    frame.assign(PID=frame[place].str.extract(r"patient0*(\d+)", expand=False)).to_csv(table, index=False)


def test_the_audit_reads_the_named_column_in_batch_folders_and_of_a_test_set_with_a_row_a_study(tmp_path):
    root = make_batches(tmp_path / "release", patients=6, valid=4)
    for name in ("train", "valid"):
        with_patients(root / BATCHES[0] / f"{name}.csv", "Path")
    test = make_test_set(tmp_path / "official", by_study=True, studies=4)
    with_patients(test, "Study")
    rows = pd.concat([each.frame for each in read_tables(root, Columns(patient="PID"), str(test))])
    given = rows.assign(split=["train"] * 6 + ["val"] * 4 + ["test"] * 6)
    assert strangers(given, root, BY_COLUMN, str(test)) == (None, "column PID of the tables")
    given.loc[given["patient"] == "64742", "split"] = "val"
    assert strangers(given, root, BY_COLUMN, str(test))[0] is None
    given.iloc[-2:, given.columns.get_loc("split")] = "train", "test"
    assert strangers(given, root, BY_COLUMN, str(test))[0].startswith("1 people are in two splits by column PID")


@pytest.mark.parametrize("moved", ["CheXpert-v1.0 Batch 2 (train 1)", "."])
def test_the_audit_finds_each_table_where_its_reader_does(moved, tmp_path):
    root = make_batches(tmp_path / "release", patients=6, valid=4)
    for name in ("train", "valid"):
        with_patients(root / BATCHES[0] / f"{name}.csv", "Path")
    (root / BATCHES[1]).rename(root / "CheXpert-v1.0 Batch 2 (train 1)")
    (root / BATCHES[0] / "train.csv").rename(root / moved / "train.csv")
    rows = pd.concat([each.frame for each in read_tables(root, Columns(patient="PID"))])
    given = rows.assign(split=["train"] * 6 + ["test"] * 4)
    assert strangers(given, root, BY_COLUMN) == (None, "column PID of the tables")


@pytest.mark.parametrize("name", [name for name, (_, patient, _) in LAYOUTS.items() if patient])
def test_the_audit_knows_each_layout_that_tables_know(name, tmp_path):
    path, patient, _ = LAYOUTS[name]
    assert strangers(manifest([path], [patient], ["train"]), tmp_path, BY_PATH)[0] is None


def test_what_belongs_together_is_told_in_one_line():
    frame = pd.DataFrame({"patient": ["a", "a", "a", "b"], "study": ["a/1", "a/1", "a/2", "b/1"]})
    assert grouping(frame, "PID") == (
        "patients by column PID: 4 images of 2 patients in 3 studies; images a patient: 2 at the median, 3 at the most "
        "(a)"
    )


def test_a_path_loses_its_first_component_and_backslashes_are_separators():
    assert under_root("release\\train\\a.jpg") == under_root("release/train/./a.jpg") == "train/a.jpg"


PERSON = ["patient1", "patient00002", "Patient_3", "sub-01", "p10000032", "p10", "PID1", "00000001_000"]
NO_PERSON = ["patient--4", "patients", "xpatient4", "patient", "sub-", "images", "images_001", "a", "00000001_000.png"]
BELOW = ["s50414267", "s5", "study1", "20200101"]
NAMES = st.sampled_from(PERSON + NO_PERSON + BELOW)


def reference(path: str) -> str | None:
    """The patient by what a person would look for, folder by folder."""
    *folders, file = path.split("/")
    named = []
    for folder, below in zip(folders, [*folders[1:], file], strict=False):
        number = folder.removeprefix("patient").removeprefix("Patient")
        chexpert = number != folder and number.replace("_", "", 1).replace("-", "", 1).isdigit()
        mimic = folder == "p10000032" and below in folders and below == "s50414267"
        if mimic or (chexpert and "--" not in number) or (folder[:4] == "sub-" and folder[4:]):
            named.append(folder)
    if not named and folders[-1:] == ["images"] and file == "00000001_000.png":
        return "00000001"
    return named[0] if len(named) == 1 else None


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(NAMES, min_size=1, max_size=6))
def test_a_drawn_path_names_the_patient_that_a_plain_reference_finds(names):
    owner = owner_of("/".join(names))
    assert (owner and owner.patient) == reference("/".join(names))


ORDERS = st.permutations(["hospital", "{person}", "{date}", "ser{series}"])
PERSONS = st.sampled_from(["patient{0}", "PID{0}", "sub-{0}", "{0}", "p{0:08d}"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(order=ORDERS, name=PERSONS, column=st.booleans())
def test_in_any_arrangement_of_folders_a_person_is_in_one_split_or_the_table_is_refused(
    order, name, column, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("tree")
    images = [(person, date, series) for person in range(12) for date in (2020, 2021) for series in (1, 2)]
    paths = [
        "/".join(order).format(person=name.format(person), date=date, series=series) + "/i.png"
        for person, date, series in images
    ]
    people = [str(person) for person, *_ in images]
    tree(folder, paths, people if column else None)
    try:
        tables = read_tables(folder, Columns("PID") if column else Columns())
    except InputError:
        assert not column
        assert name not in ("patient{0}", "sub-{0}")
        return
    rows, *_ = assign_rows(tables, views="all", split_seed=1, max_patients=None, shares=SHARES)
    assert set(rows["split"]) <= set(SPLITS)
    assert (rows.groupby(np.array(people))["split"].nunique() == 1).all()
