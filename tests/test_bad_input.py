"""Every case of bad input ends in its own message, and a run that drops bad images lists them."""

import os
from pathlib import Path

import pytest

from diagxnet.console.errors import InputError
from diagxnet.data.packed import open_packed, read_dropped, read_index
from diagxnet.data.prepared import read_manifest
from tests.bad_input import CASES, IMAGES, BadInput, pack_of, prepare_of
from tests.radiographs import image_path, make_data


def check_links(case: BadInput, folder: Path) -> None:
    if not case.needs_links:
        return
    try:
        (folder / "link").symlink_to(folder / "target")
    except OSError:
        pytest.skip("this user may not make symbolic links")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_ends_in_its_message(case: BadInput, tmp_path: Path) -> None:
    check_links(case, tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    refuses = case.make(root)
    with pytest.raises(InputError) as raised:
        refuses()
    assert str(raised.value) == case.message.replace("{root}", str(root))


def test_names_of_cases_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_all_kinds_of_bad_images_are_found_in_one_pass_and_dropped_together(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / image_path(0)).unlink()
    (tmp_path / image_path(1)).write_bytes(b"")
    (tmp_path / image_path(7)).write_text("no image", encoding="utf-8")
    with pytest.raises(InputError, match="3 problems"):
        pack_of(tmp_path)
    stats = pack_of(tmp_path, bad_images="drop")
    assert (stats["images"], stats["dropped"]) == (43, 3)
    dropped = read_dropped(tmp_path / ".packed")
    assert dropped.to_dict("list") == {
        "table": ["train"] * 3,
        "path": [image_path(n) for n in (0, 1, 7)],
        "reason": ["is missing", "is empty", "is no image (JPEG, PNG, BMP, TIFF, DICOM)"],
    }
    assert len(open_packed(tmp_path / ".packed")) == len(read_index(tmp_path / ".packed")) == 43


def test_dropped_images_are_in_the_summary_and_in_no_split(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / image_path(5)).write_bytes(b"")
    summary = prepare_of(tmp_path)
    assert summary["dropped"] == {"images": 1, "train": 1}
    assert summary["dropped_images"] == [{"table": "train", "path": image_path(5), "reason": "is empty"}]
    assert image_path(5) not in set(read_manifest(tmp_path / ".prepared")["path"])


def test_a_dropped_image_is_never_replaced_by_another(tmp_path: Path) -> None:
    make_data(tmp_path)
    pack_of(tmp_path)
    whole = {
        row.path: open_packed(tmp_path / ".packed")[row.row].copy()
        for row in read_index(tmp_path / ".packed").itertuples()
    }
    for patient in (0, 1, 20):
        (tmp_path / image_path(patient)).write_bytes(b"")
    pack_of(tmp_path, bad_images="drop")
    packed = open_packed(tmp_path / ".packed")
    for row in read_index(tmp_path / ".packed").itertuples():
        assert (packed[row.row] == whole[row.path]).all()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_an_image_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / image_path(0)).chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        pack_of(tmp_path)


def test_every_image_case_can_be_dropped(tmp_path: Path) -> None:
    for number, case in enumerate(IMAGES):
        if case.needs_links or case.name == "no usable image":
            continue
        root = tmp_path / str(number)
        root.mkdir()
        case.make(root)
        assert pack_of(root, bad_images="drop")["dropped"] >= 1, case.name
