"""The inventory notices every change, and reads no file again that did not change."""

import json
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from diagxnet.console.errors import InputError
from diagxnet.data.files import content_hash
from diagxnet.images.pack import pack
from diagxnet.reading import inventory as module
from diagxnet.reading.inventory import default_cache, take_inventory, write_inventory
from tests.radiographs import Row, image_path, make_data, write_image, write_table

OLD = 1_500_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set whose files are old enough for their hashes to be kept."""
    root = tmp_path / "root"
    make_data(root, train=5, valid=2)
    for path in root.rglob("*"):
        os.utime(path, (OLD, OLD))
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that were read to be hashed, tables aside."""
    names: list[str] = []

    def spy(path: str) -> str:
        if not str(path).endswith(".csv"):
            names.append(str(path))
        return content_hash(path)

    monkeypatch.setattr(module, "content_hash", spy)
    return names


def test_tables_and_images_have_size_and_hash(root: Path, cache: Path) -> None:
    inventory = take_inventory(root, cache=cache)
    assert list(inventory["images"]) == sorted(inventory["images"])
    assert len(inventory["images"]) == 7
    for name, entry in (inventory["images"] | inventory["tables"]).items():
        assert entry == {"size": (root / name).stat().st_size, "hash": content_hash(root / name)}


def test_nothing_is_read_again_when_nothing_changed(root: Path, cache: Path, hashed: list[str]) -> None:
    first = take_inventory(root, cache=cache)
    assert len(hashed) == 7
    assert take_inventory(root, cache=cache) == first
    assert len(hashed) == 7


def test_a_changed_image_is_noticed_and_alone_read_again(root: Path, cache: Path, hashed: list[str]) -> None:
    first = take_inventory(root, cache=cache)
    hashed.clear()
    changed = root / image_path(3)
    write_image(changed, seed=99)
    second = take_inventory(root, cache=cache)
    assert [Path(path) for path in hashed] == [changed]
    assert {path for path in first["images"] if first["images"][path] != second["images"][path]} == {image_path(3)}


def test_a_change_that_keeps_size_and_name_is_noticed_by_its_time(root: Path, cache: Path) -> None:
    first = take_inventory(root, cache=cache)
    path = root / image_path(3)
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, (OLD + 1, OLD + 1))
    assert take_inventory(root, cache=cache)["images"] != first["images"]


def test_an_added_and_a_removed_image_are_noticed(root: Path, cache: Path) -> None:
    take_inventory(root, cache=cache)
    rows = [Row(image_path(n)) for n in (0, 1, 2, 3, 77)]
    write_image(root / image_path(77))
    write_table(root / "train.csv", rows)
    images = take_inventory(root, cache=cache)["images"]
    assert image_path(77) in images
    assert image_path(4) not in images
    (root / image_path(77)).unlink()
    assert take_inventory(root, cache=cache)["images"][image_path(77)] is None


def test_a_file_of_the_last_two_seconds_is_hashed_and_not_kept(root: Path, cache: Path, hashed: list[str]) -> None:
    take_inventory(root, cache=cache)
    write_image(root / image_path(3), seed=99)
    hashed.clear()
    take_inventory(root, cache=cache)
    take_inventory(root, cache=cache)
    assert [Path(path) for path in hashed] == [root / image_path(3)] * 2


def test_an_absent_valid_csv_is_null(root: Path, cache: Path) -> None:
    (root / "valid.csv").unlink()
    assert take_inventory(root, cache=cache)["tables"]["valid.csv"] is None


def test_two_clones_of_the_same_data_agree(root: Path, cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "clone"
    make_data(other, train=5, valid=2)
    assert take_inventory(root, cache=cache) == take_inventory(other, cache=cache)


def test_a_broken_cache_is_replaced_and_said(root: Path, cache: Path, capsys: pytest.CaptureFixture) -> None:
    first = take_inventory(root, cache=cache)
    (cache / "hashes.sqlite").write_bytes(b"no database at all" * 100)
    assert take_inventory(root, cache=cache) == first
    assert "made anew" in capsys.readouterr().err
    with sqlite3.connect(cache / "hashes.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM hashes").fetchone() == (7,)


def test_the_written_inventory_is_the_taken_one(root: Path, cache: Path, tmp_path: Path) -> None:
    inventory = take_inventory(root, cache=cache)
    write_inventory(tmp_path / "a.json", inventory)
    write_inventory(
        tmp_path / "b.json", {"images": dict(reversed(inventory["images"].items())), "tables": inventory["tables"]}
    )
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == inventory
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"DIAGXNET_CACHE": "chosen"}, Path("chosen")),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, Path("xdg/diagxnet")),
        ("linux", {}, Path.home() / ".cache/diagxnet"),
        ("darwin", {}, Path.home() / "Library/Caches/diagxnet"),
        ("win32", {"LOCALAPPDATA": "local"}, Path("local/diagxnet")),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: Path
) -> None:
    for name in ("DIAGXNET_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert default_cache() == expected


@pytest.mark.skipif(sys.platform == "win32", reason="needs the right to make links")
def test_a_folder_of_images_on_another_disk_is_read_where_its_link_is_allowed(tmp_path):
    root, disk = tmp_path / "root", tmp_path / "disk"
    make_data(disk)
    root.mkdir()
    (root / "train.csv").write_bytes((disk / "train.csv").read_bytes())
    (root / "train").symlink_to(disk / "train", target_is_directory=True)
    with pytest.raises(InputError, match=f"allow links to there: data.linked={disk / 'train'}"):
        take_inventory(root, cache=tmp_path / "cache")
    write_inventory(tmp_path / "inventory.json", take_inventory(root, cache=tmp_path / "cache", linked=str(disk)))
    options = {"size": 32, "bad_images": "stop", "workers": 1}
    with pytest.raises(InputError, match=f"none of 40 images can be used; {image_path(0)} is a link to a file outside"):
        pack(root, tmp_path / "inventory.json", tmp_path / "refused", work=tmp_path / "work", **options)
    packed = pack(
        root, tmp_path / "inventory.json", tmp_path / "packed", work=tmp_path / "work", linked=str(disk), **options
    )
    assert (packed["images"], packed["dropped"]) == (40, 0)
