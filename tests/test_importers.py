"""Releases of other hospitals become CheXpert's tables, and what is wrong with one is said in one report."""

import errno
import shutil
import sys

import numpy as np
import pytest

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import content_hash, read_json
from diagxnet.importers import release
from diagxnet.importers.mimic import import_mimic
from diagxnet.importers.nih import import_nih, labels
from diagxnet.importers.padchest import classes_of, import_padchest
from diagxnet.importers.vindr import import_vindr
from diagxnet.importers.vindr import labels as vindr_labels
from diagxnet.reading.columns import Columns
from diagxnet.reading.tables import read_tables
from diagxnet.trained_on import FILE, TrainedOn, hash_patients, write_trained_on
from tests.releases import (
    MIMIC_IMAGES,
    NIH_ROWS,
    PADCHEST_ROWS,
    make_mimic,
    make_nih,
    make_padchest,
    make_vindr,
)

IMPORTERS = {"nih": (import_nih, make_nih), "mimic": (import_mimic, make_mimic)}
IMPORTERS |= {"vindr": (import_vindr, make_vindr), "padchest": (import_padchest, make_padchest)}
COLUMNS = {"vindr": Columns(patient="Path"), "padchest": Columns(patient="PatientID", study="StudyID")}
"""How the tables of a release whose paths name no patient are read."""


def run(monkeypatch, name: str, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    return release.main(name, IMPORTERS[name][0], "")


def label(table, row: int, key: str) -> float:
    return table.labels[row, CHEXPERT.keys.index(key)]


def tree(root) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", IMPORTERS)
def test_an_importer_adds_its_files_and_its_paths_are_the_images_where_they_lie(name, tmp_path, monkeypatch):
    root = IMPORTERS[name][1](tmp_path / "release")
    before = tree(root)
    assert run(monkeypatch, name, root, "--models", tmp_path) == 0
    assert tree(root) - before == {"train.csv", "mapping.json", *(["valid.csv"] if name != "padchest" else [])}
    for table in read_tables(root, COLUMNS.get(name, Columns())):
        assert all((root / path).is_file() for path in table.frame["path"])


def test_chestxray14_keeps_its_patients_follow_ups_views_and_split(tmp_path, monkeypatch):
    root = make_nih(tmp_path / "release")
    run(monkeypatch, "nih", root, "--models", tmp_path)
    train, valid = read_tables(root)
    assert train.frame["patient"].tolist() == ["00000001", "00000001", "00000002"]
    assert train.frame["study"].tolist() == ["00000001/000", "00000001/001", "00000002/000"]
    assert train.frame["projection"].tolist() == ["PA", "AP", "PA"]
    assert train.frame["sex"].tolist() == ["male", "male", "female"]
    assert valid.frame["path"].tolist() == ["images_002/images/00000013_000.png"]


def test_chestxray14s_ages_are_whole_years_or_blank_where_they_cannot_be_right(tmp_path, monkeypatch):
    root = make_nih(tmp_path / "release")
    run(monkeypatch, "nih", root, "--models", tmp_path)
    train, valid = read_tables(root)
    np.testing.assert_array_equal(train.frame["age"], [58, 59, np.nan])
    assert valid.frame["age"].tolist() == [0]


def test_chestxray14s_classes_become_findings_by_the_published_mapping(tmp_path, monkeypatch):
    root = make_nih(tmp_path / "release")
    run(monkeypatch, "nih", root, "--models", tmp_path)
    train, valid = read_tables(root)
    assert [label(train, 0, key) for key in ("cardiomegaly", "enlarged_cardiomediastinum", "lung_opacity")] == [1, 1, 0]
    assert [label(train, 1, key) for key in ("lung_lesion", "lung_opacity", "no_finding")] == [1, 1, 0]
    assert [label(train, 2, key) for key in ("no_finding", "enlarged_cardiomediastinum", "edema")] == [1, 0, 0]
    assert [label(valid, 0, key) for key in ("pleural_effusion", "pleural_other", "lung_opacity")] == [1, 1, 1]
    assert np.isnan(label(train, 1, "enlarged_cardiomediastinum"))
    for table in (train, valid):
        assert np.isnan(
            table.labels[:, [CHEXPERT.keys.index("fracture"), CHEXPERT.keys.index("support_devices")]]
        ).all()


def test_the_nih_radiographs_of_the_project_follow_the_same_mapping(nih):
    """Their tables were made by others from the same release: each row must be what some set of classes gives."""
    tables = read_tables(nih)
    rows = np.concatenate([table.labels for table in tables])
    column = {key: rows[:, CHEXPERT.keys.index(key)] for key in CHEXPERT.keys}
    for row in range(len(rows)):
        classes = {
            name
            for key, name in (("cardiomegaly", "Cardiomegaly"), ("no_finding", "No Finding"), ("edema", "Edema"))
            if column[key][row] == 1
        }
        expected = labels(classes)["enlarged_cardiomediastinum"]
        given = column["enlarged_cardiomediastinum"][row]
        assert (expected == "" and np.isnan(given)) or float(expected) == given


def test_the_mapping_beside_the_tables_names_merged_and_unused_classes(tmp_path, monkeypatch):
    root = make_nih(tmp_path / "release")
    run(monkeypatch, "nih", root, "--models", tmp_path)
    mapping = read_json(root / "mapping.json")
    assert set(release.merged(mapping)) == {"lung_lesion", "lung_opacity"}
    assert mapping["unused"] == ["Emphysema", "Fibrosis", "Hernia"]
    assert mapping["findings"]["fracture"] == []


def test_mimics_study_labels_go_to_each_image_and_its_split_to_the_tables(tmp_path, monkeypatch):
    root = make_mimic(tmp_path / "release")
    run(monkeypatch, "mimic", root, "--models", tmp_path)
    train, valid = read_tables(root)
    assert train.frame["patient"].tolist() == ["p10000032", "p10000032", "p10000764"]
    assert train.frame["view"].tolist() == ["frontal", "lateral", "frontal"]
    assert [label(train, row, "pneumonia") for row in (0, 1)] == [-1, -1]
    assert valid.frame["path"].tolist() == ["files/p19/p19999987/s55368167/eee.jpg"]
    assert np.isnan(label(valid, 0, "edema"))


def test_mimics_images_without_view_or_labels_are_left_out_and_counted(tmp_path):
    left_out = import_mimic(make_mimic(tmp_path / "release")).left_out
    assert sum(left_out.values()) == 2
    assert any("ViewPosition blank" in reason for reason in left_out)
    assert any("without labels" in reason for reason in left_out)


def move(old: str, new: str | None = None):
    """Breaks a release: renames a file, or removes it."""

    def broken(root):
        if new is None:
            (root / old).unlink()
        else:
            (root / new).parent.mkdir(parents=True, exist_ok=True)
            (root / old).rename(root / new)

    return broken


def copy(old: str, new: str):
    def broken(root):
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / old, root / new)

    return broken


def append(name: str, text: str):
    def broken(root):
        with (root / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return broken


ENTRY, FIRST = "Data_Entry_2017_v2020.csv", "images_001/images/00000001_000.png"
NIH_FAULTS = {
    "no table": (move(ENTRY), r"Data_Entry_2017\*\.csv is missing"),
    "two tables": (copy(ENTRY, "Data_Entry_2017.csv"), "is there 2 times"),
    "no list": (move("test_list.txt"), "test_list.txt is missing"),
    "a renamed list": (move("test_list.txt", "test_list_NIH.txt"), "is it test_list_NIH.txt"),
    "no images": (lambda root: [shutil.rmtree(root / f"images_00{n}") for n in (1, 2)], "unpack the archives here"),
    "a missing image": (move(FIRST), "1 images are not in .*: 00000001_000.png"),
    "a renamed image": (move(FIRST, f"{FIRST[:-4]} (1).png"), r"is 00000001_000 \(1\).png, which no table names"),
    "an image in two folders": (copy(FIRST, "images_002/images/00000001_000.png"), "in two folders"),
    "a row twice": (append(ENTRY, ",".join([*NIH_ROWS[0], "1", "1", "1", "1", ""]) + "\n"), "on more than one row"),
    "a row in no list": (append(ENTRY, "00000014_000.png,Mass,0,14,50,M,PA,1,1,1,1,\n"), "in neither list"),
    "an unknown class": (
        append(ENTRY, "00000014_000.png,Tumor,0,14,50,M,PA,1,1,1,1,\n"),
        "line 6: 'Tumor' is no class",
    ),
    "another patient": (append(ENTRY, "00000014_000.png,Mass,0,15,50,M,PA,1,1,1,1,\n"), "said to be of patient 15"),
    "an image in both lists": (append("test_list.txt", "00000001_000.png\n"), "in both lists"),
    "a list of other images": (append("test_list.txt", "00009999_000.png\n"), "in no row of"),
}


META, PREFIX = "mimic-cxr-2.0.0-metadata.csv.gz", "files/p10/p10000032/s50414267/"
MIMIC_FAULTS = {
    "no labels": (move("mimic-cxr-2.0.0-chexpert.csv.gz"), "-chexpert.csv.* is missing"),
    "a table twice": (copy(META, META.replace("2.0.0", "2.1.0")), "is there 2 times"),
    "no files": (move("files", "images"), "folder files is missing"),
    "a missing image": (move(PREFIX + "aaa.jpg"), "1 images are not in files/: .*aaa.jpg"),
    "a renamed image": (move(PREFIX + "aaa.jpg", PREFIX + "aaa-1.jpg"), "aaa-1.jpg, which no table names"),
    "a damaged table": (lambda root: (root / META).write_bytes(b"\x1f\x8b\x08damaged"), "get this file again"),
}


def test_mimic_ids_that_went_through_floats_are_whole_numbers(tmp_path):
    images = [(dicom, f"{subject}.0", f"{study}.0", *rest) for dicom, subject, study, *rest in MIMIC_IMAGES]
    assert import_mimic(make_mimic(tmp_path / "floats", images)) == import_mimic(make_mimic(tmp_path / "whole"))


def test_chestxray14s_ids_and_ages_that_went_through_floats_are_whole_numbers(tmp_path):
    floats = [(name, classes, follow, f"{patient}.0", age if "Y" in age or "M" in age else f"{age}.0", sex, view)
              for name, classes, follow, patient, age, sex, view in NIH_ROWS]  # fmt: skip
    assert import_nih(make_nih(tmp_path / "floats", floats)).tables == import_nih(make_nih(tmp_path / "whole")).tables


def test_another_separator_of_a_release_is_named(tmp_path):
    root = make_nih(tmp_path / "release")
    (root / ENTRY).write_text((root / ENTRY).read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    with pytest.raises(InputError, match=r"the columns are separated by ';' \(save the table with commas\)"):
        import_nih(root)


def test_a_mimic_row_twice_or_of_an_unknown_label_is_refused(tmp_path):
    with pytest.raises(InputError, match="on more than one row: aaa"):
        import_mimic(make_mimic(tmp_path / "twice", [*MIMIC_IMAGES, MIMIC_IMAGES[0]]))
    with pytest.raises(InputError, match=r"line 2: Edema is '2': must be"):
        import_mimic(make_mimic(tmp_path / "label", [("aaa", "1", "2", "PA", "train", {"Edema": "2"})]))


def test_all_problems_of_a_release_are_in_one_report(tmp_path):
    root = make_nih(tmp_path / "release")
    move(FIRST)(root)
    append("test_list.txt", "00009999_000.png\n")(root)
    with pytest.raises(InputError, match="2 problems") as caught:
        import_nih(root)
    assert "00000001_000.png" in str(caught.value)
    assert "00009999_000.png" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "lost"),
    [("nih", FIRST), ("mimic", PREFIX + "aaa.jpg"), ("vindr", "train/0a1.dicom"), ("padchest", "0/a1.png")],
)
def test_a_part_of_a_release_is_used_where_asked(name, lost, tmp_path):
    importer, make = IMPORTERS[name]
    root = make(tmp_path / "release")
    whole = len(importer(root).tables["train"])
    move(lost)(root)
    imported = importer(root, partial=True)
    assert len(imported.tables["train"]) == whole - 1
    assert [count for reason, count in imported.left_out.items() if "not in" in reason] == [1]


def test_tables_that_no_importer_wrote_are_never_replaced(tmp_path, monkeypatch, capsys):
    root = make_nih(tmp_path / "release")
    (root / "train.csv").write_text("mine", encoding="utf-8")
    assert run(monkeypatch, "nih", root, "--models", tmp_path) == 1
    assert "no importer wrote it" in capsys.readouterr().err
    assert (root / "train.csv").read_text(encoding="utf-8") == "mine"


def test_a_part_without_test_images_has_no_valid_csv_and_an_earlier_one_is_removed(tmp_path, monkeypatch, capsys):
    root = make_nih(tmp_path / "release")
    assert run(monkeypatch, "nih", root, "--models", tmp_path) == 0
    assert (root / "valid.csv").exists()
    (root / "images_002/images/00000013_000.png").unlink()
    assert run(monkeypatch, "nih", root, "--models", tmp_path, "--partial") == 0
    assert "valid.csv: not written" in capsys.readouterr().out
    assert not (root / "valid.csv").exists()
    assert [table.name for table in read_tables(root)] == ["train"]


def test_a_release_that_cannot_be_written_ends_in_one_line_and_in_a_traceback_for_debugging(
    tmp_path, monkeypatch, capsys
):
    def refuse(root, imported):
        raise PermissionError(errno.EACCES, "Permission denied", str(root / "mapping.json"))

    root = make_nih(tmp_path / "release")
    monkeypatch.setattr(release, "write_tables", refuse)
    assert run(monkeypatch, "nih", root, "--models", tmp_path / "none") == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nih: {root / 'mapping.json'}: Permission denied (")
    monkeypatch.setenv("DIAGXNET_DEBUG", "1")
    with pytest.raises(PermissionError):
        run(monkeypatch, "nih", root, "--models", tmp_path / "none")
    with pytest.raises(InputError):
        run(monkeypatch, "nih", tmp_path / "absent")


def remember(models, patients: list[str], images: list) -> None:
    digests = b"".join(bytes.fromhex(content_hash(image)) for image in images)
    record = TrainedOn(
        np.sort(hash_patients(patients)),
        np.array([image.stat().st_size for image in images], np.int64),
        np.frombuffer(digests, np.uint8).reshape(-1, 16),
    )
    write_trained_on(models / FILE, record)


def test_an_importer_refuses_a_patient_that_the_ensemble_was_trained_on(tmp_path, monkeypatch, capsys):
    root = make_nih(tmp_path / "release")
    remember(tmp_path, ["00000013"], [])
    assert run(monkeypatch, "nih", root, "--models", tmp_path) == 1
    assert "1 of 3 patients have the name of one trained on: 00000013" in capsys.readouterr().err
    assert not (root / "train.csv").exists()
    assert run(monkeypatch, "nih", root, "--models", tmp_path, "--allow-known-patients") == 0


def test_an_importer_refuses_an_image_that_the_ensemble_was_trained_on_under_any_name(tmp_path, monkeypatch, capsys):
    root = make_nih(tmp_path / "release")
    shutil.copy(root / FIRST, tmp_path / "other.png")
    remember(tmp_path, [], [tmp_path / "other.png"])
    assert run(monkeypatch, "nih", root, "--models", tmp_path, "--allow-known-patients") == 1
    assert f"1 of 4 images were trained on: {FIRST}" in capsys.readouterr().err
    assert run(monkeypatch, "nih", root, "--models", tmp_path, "--allow-known-images") == 0


def test_an_importer_says_so_where_it_cannot_compare(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "nih", make_nih(tmp_path / "release"), "--models", tmp_path / "none") == 0
    assert "compared with no ensemble" in capsys.readouterr().err


def test_vindrs_majority_is_1_a_minority_is_uncertain_and_nobody_is_0(tmp_path, monkeypatch, capsys):
    root = make_vindr(tmp_path / "release")
    run(monkeypatch, "vindr", root, "--models", tmp_path)
    assert "train with -S data.columns.patient=Path" in capsys.readouterr().out
    train, valid = read_tables(root, COLUMNS["vindr"])
    assert train.frame["path"].tolist() == ["train/0a1.dicom", "train/0b2.dicom", "train/0c3.dicom"]
    assert train.frame["patient"].nunique() == 3
    keys = ("cardiomegaly", "fracture", "lung_lesion", "lung_opacity", "edema", "no_finding")
    assert [label(train, 0, key) for key in keys] == [1, -1, -1, -1, 0, 0]
    assert [label(train, 1, key) for key in keys] == [0, 0, 0, -1, -1, 1]
    assert [label(valid, 0, key) for key in ("pleural_effusion", "lung_lesion", "edema")] == [1, 1, 0]
    assert [label(train, row, "enlarged_cardiomediastinum") for row in (0, 1)] == [1, 0]
    assert np.isnan(label(valid, 0, "enlarged_cardiomediastinum"))
    assert np.isnan(train.labels[:, CHEXPERT.keys.index("support_devices")]).all()
    notes = read_json(root / "mapping.json")["notes"]
    assert "Cardiomegaly: seen by a reader in 1 films of several, by all of them in 1" in notes
    assert "Edema: seen by a reader in 1 films of several, by all of them in 0" in notes


def test_a_tie_of_two_readers_is_uncertain():
    assert vindr_labels([{"Edema"}, set()])["edema"] == "-1.0"
    assert vindr_labels([{"Edema"}, {"Edema"}])["edema"] == "1.0"


def test_padchests_lists_become_findings_and_its_columns_tell_patient_and_study(tmp_path, monkeypatch, capsys):
    root = make_padchest(tmp_path / "release")
    run(monkeypatch, "padchest", root, "--models", tmp_path)
    out = capsys.readouterr().out
    assert "-S data.columns.patient=PatientID -S data.columns.study=StudyID" in out
    assert "scoliosis" in out
    (train,) = read_tables(root, COLUMNS["padchest"])
    frame = train.frame
    assert frame["path"].tolist() == ["0/a1.png", "0/a2.png", "17/b1.png", "17/c1.png"]
    assert frame["patient"].tolist() == ["P1", "P1", "P2", "P3"]
    assert frame["study"].tolist() == ["P1/S1", "P1/S1", "P2/S2", "P3/S3"]
    assert frame["view"].tolist() == ["frontal", "lateral", "frontal", "frontal"]
    assert frame["projection"].tolist() == ["PA", "LL", "AP", "PA"]
    assert frame["sex"].tolist() == ["female", "female", "male", "unknown"]
    np.testing.assert_array_equal(frame["age"], [84, 84, 20, np.nan])
    keys = ("cardiomegaly", "pleural_effusion", "no_finding", "support_devices", "fracture", "lung_opacity")
    assert [label(train, 0, key) for key in keys] == [1, 1, 0, 0, 0, 0]
    assert [label(train, 2, key) for key in keys] == [0, 0, 1, 0, 0, 0]
    assert [label(train, 3, key) for key in keys] == [0, 0, 0, 1, 1, 1]
    assert sum(read_json(root / "mapping.json")["left_out"].values()) == 4


def test_a_list_of_labels_is_read_as_python_writes_it_or_not_at_all():
    assert classes_of("['a', ' b', '', 'a']") == {"a", "b"}
    assert classes_of("nan") == classes_of("[]") == set()
    for cell in ("cardiomegaly", "['a'", "{'a': 1}", "[1]", "__import__('os')"):
        assert classes_of(cell) is None


def vote(old: str, new: str):
    def broken(root):
        path = root / "annotations/image_labels_train.csv"
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    return broken


VINDR_FAULTS = {
    "no annotations": (move("annotations", "labels"), "folder annotations is missing"),
    "no table": (move("annotations/image_labels_test.csv"), r"image_labels_test.csv\* is missing"),
    "no images": (move("test", "tests"), "folder test is missing"),
    "a missing image": (move("train/0a1.dicom"), "1 images are not in train/: 0a1"),
    "an image in two forms": (copy("train/0a1.dicom", "train/0a1.png"), "there in two forms: train/0a1.png"),
    "a reader twice": (vote("0a1,R9", "0a1,R8"), "1 readings are there twice: 0a1"),
    "another vote": (vote("0a1,R8,0", "0a1,R8,2"), "line 2: Aortic enlargement is '2': must be 1, 0 or blank"),
}


def first_row(**changes: str):
    """Breaks PadChest: its first row has other cells."""
    names = ("image", "folder", "date", "study", "patient", "birth", "sex", "projection", "labels")
    first = tuple(changes.get(name, cell) for name, cell in zip(names, PADCHEST_ROWS[0], strict=True))
    return lambda root: make_padchest(root, [first, *PADCHEST_ROWS[1:]])


PADCHEST_FAULTS = {
    "a missing image": (first_row(image="z9.png"), "1 images are not in the folders of .*: z9.png"),
    "an image twice": (first_row(image="a2.png"), "1 on more than one row: a2.png"),
    "no list": (first_row(labels="cardiomegaly"), "line 2: Labels is 'cardiomegaly': must be a list"),
    "no patient": (first_row(patient=" "), "line 2: PatientID is blank"),
    "another sex": (first_row(sex="X"), "line 2: PatientSex_DICOM is 'X': must be M, F or blank"),
}
FAULTS = {"nih": NIH_FAULTS, "mimic": MIMIC_FAULTS, "vindr": VINDR_FAULTS, "padchest": PADCHEST_FAULTS}


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, own in FAULTS.items() for fault in own])
def test_a_broken_release_is_refused_by_name(name, fault, tmp_path):
    importer, make = IMPORTERS[name]
    root = make(tmp_path / "release")
    breaking, message = FAULTS[name][fault]
    breaking(root)
    with pytest.raises(InputError, match=message):
        importer(root)
