"""CheXpert as it arrives: images in batch folders, and a test set with a table of its own."""

import csv
import os
import shutil
import sys
from pathlib import Path

import pytest

from diagxnet.console.errors import InputError
from diagxnet.data.files import content_hash, read_arrays
from diagxnet.data.packed import open_packed, read_index
from diagxnet.data.prepared import read_manifest
from diagxnet.data.splits import splits_of
from diagxnet.images.decode import decode
from diagxnet.reading.inventory import take_inventory
from diagxnet.reading.places import Places
from diagxnet.reading.tables import read_tables
from diagxnet.statistics.cohort import losses
from tests.bad_input import prepare_of
from tests.radiographs import image_path, make_data
from tests.releases import BATCHES, make_batches, make_test_set

FIRST, FILE = image_path(1), f"{BATCHES[1]}/patient00001/study1/view1_frontal.jpg"


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    return make_batches(tmp_path / "release")


def merged(root: Path, folder: Path) -> Path:
    """The same images in one tree, as people make it by moving them."""
    for name in ("train.csv", "valid.csv"):
        folder.mkdir(exist_ok=True)
        shutil.copy(root / BATCHES[0] / name, folder / name)
    shutil.copytree(root / BATCHES[0] / "valid", folder / "valid")
    for batch in BATCHES[1:]:
        shutil.copytree(root / batch, folder / "train", dirs_exist_ok=True)
    return folder


def test_images_in_batch_folders_are_found_and_give_the_bytes_of_the_merged_tree(batches, tmp_path):
    other = merged(batches, tmp_path / "merged")
    for root in (batches, other):
        prepare_of(root)
    assert take_inventory(batches, cache=tmp_path / "c") == take_inventory(other, cache=tmp_path / "c")
    for name in (".packed/images.npy", ".packed/index.csv", ".prepared/manifest.csv", ".prepared/labels_train.npz"):
        assert content_hash(batches / name) == content_hash(other / name), name
    index = read_index(batches / ".packed").set_index("path")["row"]
    assert (open_packed(batches / ".packed")[index[FIRST]] == decode(batches / FILE, 32)).all()


def test_folders_are_listed_before_the_rows_are_read_and_no_row_asks_the_disk(batches, monkeypatch):
    asked: list[str] = []
    for name in ("scandir", "stat", "listdir"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path, *rest, real=real, **named: asked.append(path) or real(path, *rest))
    found = Places(batches)
    assert len(asked) < 8
    asked.clear()
    files = [found.find(f"CheXpert-v1.0/{image_path(number)}")[1] for number in range(1, 41)]
    assert not [path for path in asked if "patient" in str(path)]
    assert all((batches / file).is_file() for file in files)


def test_patients_may_lie_deeper_in_a_batch_folder(tmp_path):
    root = make_batches(tmp_path / "release", patients=4)
    for batch in BATCHES[1:]:
        (root / batch).rename(root / "moved")
        (root / batch / "CheXpert-v1.0").mkdir(parents=True)
        (root / "moved").rename(root / batch / "CheXpert-v1.0/train")
    table = read_tables(root)[0]
    assert table.frame["path"][0] == FIRST
    assert all((root / file).is_file() for file in table.files)


def test_a_patient_in_two_batch_folders_is_found_study_by_study(batches):
    (batches / BATCHES[2] / "patient00001/study2").mkdir(parents=True)
    shutil.copy(batches / FILE, batches / BATCHES[2] / "patient00001/study2/view1_frontal.jpg")
    found = Places(batches)
    assert found.find(f"CheXpert-v1.0/{FIRST}")[1] == FILE
    second = "patient00001/study2/view1_frontal.jpg"
    assert found.find(f"CheXpert-v1.0/train/{second}")[1] == f"{BATCHES[2]}/{second}"
    (batches / BATCHES[1] / "patient00001/study2").mkdir()
    (batches / BATCHES[1] / "patient00001/study2/view2_lateral.jpg").touch()
    found = Places(batches)
    assert found.find(f"CheXpert-v1.0/train/{second}")[1] == f"{BATCHES[2]}/{second}"
    with pytest.raises(ValueError, match="in two batch folders"):
        found.find("CheXpert-v1.0/train/patient00001/study2")


def test_tables_in_a_batch_folder_are_the_data_sets_unless_the_root_has_its_own(batches):
    text = (batches / BATCHES[0] / "train.csv").read_text(encoding="utf-8")
    assert len(read_tables(batches)[0].frame) == 40
    (batches / "train.csv").write_text("\n".join(text.splitlines()[:11]) + "\n", encoding="utf-8")
    assert len(read_tables(batches)[0].frame) == 10
    (batches / "train.csv").unlink()
    (batches / BATCHES[1] / "train.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="leave the one that you mean"):
        read_tables(batches)


def test_a_root_without_batch_folders_says_files_as_its_tables_do(tmp_path):
    make_data(tmp_path, train=5, valid=2)
    assert all(table.elsewhere is None for table in read_tables(tmp_path))


@pytest.mark.parametrize("by_study", [True, False])
@pytest.mark.parametrize("where", ["root", "inside", "elsewhere"])
def test_the_test_set_has_a_table_of_its_own_and_valid_csv_is_val(where, by_study, batches, tmp_path):
    folder = {"root": batches, "inside": batches / "chexlocalize/CheXpert", "elsewhere": tmp_path / "other"}[where]
    table = make_test_set(folder, by_study)
    test = str(table) if where == "elsewhere" else table.relative_to(batches).as_posix()
    summary = prepare_of(batches, test=test, views="frontal")
    manifest = read_manifest(batches / ".prepared")
    tables = read_index(batches / ".packed").set_index("row")["table"].loc[manifest["row"]].to_numpy()
    assert {split: set(tables[manifest["split"] == split]) for split in ("train", "stack", "val", "test")} == {
        "train": {"train"}, "stack": {"train"}, "val": {"valid"}, "test": {"test"},
    }  # fmt: skip
    own = manifest[manifest["split"] == "test"]
    assert own["path"].str.fullmatch(r"test/patient647\d\d/study1/view1_frontal\.jpg").all()
    assert (len(own), summary["tables"]["test"]["images"], summary["tables"]["test"]["studies"]) == (20, 27, 20)
    assert (set(own["sex"]), set(own["projection"]), own["age"].notna().sum()) == ({"unknown"}, {""}, 0)
    labels = read_arrays(batches / ".prepared/labels_test.npz")
    edema = [int(path[15:17]) % 2 == 0 for path in own["path"]]  # patient64741, the first, has none
    assert labels["targets"][:, 5].astype(bool).tolist() == edema
    found = losses(summary)
    assert found["valid"]["in_use"] == {"val": 20}
    assert found["test"] == {"read": 27, "unreadable": {}, "not_wanted": 7, "in_use": {"test": 20}}


@pytest.mark.skipif(sys.platform == "win32", reason="needs the right to make links")
@pytest.mark.parametrize("by_study", [True, False])
def test_the_test_sets_images_may_lie_behind_a_link_where_that_is_allowed(by_study, batches, tmp_path):
    table = make_test_set(tmp_path / "other", by_study)
    (tmp_path / "disk").mkdir()
    (tmp_path / "other/test").rename(tmp_path / "disk/test")
    (tmp_path / "other/test").symlink_to(tmp_path / "disk/test", target_is_directory=True)
    with pytest.raises(InputError, match=f"data.linked={tmp_path / 'disk/test'}"):
        prepare_of(batches, test=str(table))
    summary = prepare_of(batches, test=str(table), linked=str(tmp_path / "disk/test"))
    assert (summary["tables"]["test"]["images"], summary["dropped"]["images"]) == (27, 0)


def test_all_views_of_a_study_take_its_labels(batches):
    make_test_set(batches, by_study=True)
    prepare_of(batches, test="groundtruth.csv", views="all")
    manifest = read_manifest(batches / ".prepared")
    own = manifest[manifest["split"] == "test"]
    assert own["view"].value_counts().to_dict() == {"frontal": 20, "lateral": 7}
    targets = read_arrays(batches / ".prepared/labels_test.npz")["targets"][:, 5]
    assert own.assign(edema=targets).groupby("study")["edema"].nunique().eq(1).all()


def test_who_is_in_stack_does_not_change_with_a_test_set_of_its_own(batches):
    prepare_of(batches)
    before = read_manifest(batches / ".prepared")
    make_test_set(batches, by_study=False)
    prepare_of(batches, test="test_labels.csv")
    after = read_manifest(batches / ".prepared")
    patients = [set(each["patient"][each["split"] == "stack"]) for each in (before, after)]
    assert patients[0] == patients[1]
    assert set(before["patient"][before["split"] == "val"]) <= set(after["patient"][after["split"] == "train"])


def test_without_valid_csv_val_is_a_share_and_nothing_is_cut_off_for_test(batches):
    (batches / BATCHES[0] / "valid.csv").unlink()
    make_test_set(batches, by_study=False)
    prepare_of(batches, test="test_labels.csv")
    manifest = read_manifest(batches / ".prepared")
    assert set(manifest["path"].str.partition("/")[0][manifest["split"] == "test"]) == {"test"}
    assert set(manifest["split"]) == {"train", "val", "stack", "test"}


def test_the_inventory_notices_the_table_of_the_test_set_and_its_images(batches, tmp_path):
    table = make_test_set(tmp_path / "other", by_study=True)
    first = take_inventory(batches, cache=tmp_path / "c", test=str(table))
    assert first["tables"]["data.test"]["hash"] == content_hash(table)
    image = "test/patient64741/study1/view1_frontal.jpg"
    assert first["images"][image]["hash"] == content_hash(table.parent / image)
    (table.parent / image).write_bytes(b"other")
    rows = list(csv.reader(table.open(encoding="utf-8")))
    rows[1][1] = "1"
    table.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8")
    second = take_inventory(batches, cache=tmp_path / "c", test=str(table))
    assert [first["images"][image] == second["images"][image], first["tables"] == second["tables"]] == [False, False]


def test_a_link_out_of_the_test_sets_folder_is_no_image(batches, tmp_path):
    table = make_test_set(tmp_path / "other", by_study=False)
    image = table.parent / "test/patient64741/study1/view1_frontal.jpg"
    image.rename(tmp_path / "outside.jpg")
    try:
        image.symlink_to(tmp_path / "outside.jpg")
    except OSError:
        pytest.skip("this user may not make symbolic links")
    summary = prepare_of(batches, test=str(table))
    assert summary["dropped_images"] == [
        {"table": "test", "path": "test/patient64741/study1/view1_frontal.jpg",
         "reason": "is a link to a file outside data.root"}
    ]  # fmt: skip


def test_every_split_is_of_one_table_or_a_share_of_train_csv():
    assert splits_of(["train"]) == {"train": ("train", "val", "stack", "test")}
    assert splits_of(["train", "valid"]) == {"train": ("train", "val", "stack"), "valid": ("test",)}
    assert splits_of(["train", "test"]) == {"train": ("train", "val", "stack"), "test": ("test",)}
    assert splits_of(["train", "valid", "test"]) == {"train": ("train", "stack"), "valid": ("val",), "test": ("test",)}
