"""Packing decodes each image once, in order, goes on after an interruption, and gives the same bytes in every way."""

import multiprocessing
import os
import shutil
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
import torchvision.transforms.v2 as T
from PIL import Image

from diagxnet.console.errors import InputError
from diagxnet.data.packed import open_packed, read_dropped, read_index
from diagxnet.images import npy, processes, unfinished
from diagxnet.images import pack as module
from diagxnet.images.decode import ImageError, Radiograph, decode, read_radiograph
from diagxnet.images.kinds import HEAD, JPEG
from diagxnet.images.npy import packed_bytes
from diagxnet.images.pack import pack
from diagxnet.images.pictures import read_picture
from diagxnet.images.work import release
from tests.bad_input import inventory_file, pack_of
from tests.radiographs import image_path, make_data, write_image


def gradient(width: int, height: int) -> np.ndarray:
    """A smooth image [height, width] uint8, in which a shift or a squeeze shows."""
    down, right = np.mgrid[0:height, 0:width]
    return np.uint8(127 + 60 * np.sin(right / width * 9) + 60 * np.cos(down / height * 7))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rows_are_those_of_train_csv_then_valid_csv(tmp_path: Path) -> None:
    make_data(tmp_path)
    stats = pack_of(tmp_path)
    assert (stats["images"], stats["dropped"], stats["decoded"]) == (46, 0, 46)
    index = read_index(tmp_path / ".packed")
    assert index["row"].tolist() == list(range(46))
    assert index["table"].tolist() == ["train"] * 40 + ["valid"] * 6
    images = open_packed(tmp_path / ".packed")
    assert (images.shape, images.dtype) == ((46, 32, 32), np.uint8)
    for row in index.itertuples():
        np.testing.assert_array_equal(images[row.row], decode(tmp_path / row.path, 32))
    assert read_dropped(tmp_path / ".packed").empty


def test_width_and_height_of_each_packed_image_in_its_file_are_kept(tmp_path: Path) -> None:
    make_data(tmp_path)
    write_image(tmp_path / image_path(2), size=(300, 200))
    (tmp_path / image_path(1)).write_bytes(b"")
    rotated = Image.new("L", (90, 60))
    rotated.getexif()[0x0112] = 6  # orientation: a quarter turn
    rotated.save(tmp_path / image_path(3), exif=rotated.getexif())
    pack_of(tmp_path, bad_images="drop")
    shapes = np.load(tmp_path / ".packed/shapes.npy")
    assert (shapes.shape, shapes.dtype) == ((45, 2), np.int32)
    assert shapes[:4].tolist() == [[48, 40], [300, 200], [60, 90], [48, 40]]


def test_processes_and_their_number_do_not_change_a_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SECONDS_ALONE", 0.0)
    monkeypatch.setattr(processes, "SECONDS_TO_START", 0.0)
    make_data(tmp_path, train=150)
    (tmp_path / image_path(3)).write_bytes(b"")
    (tmp_path / image_path(140)).write_bytes(b"")
    pack_of(tmp_path, bad_images="drop", workers=1)
    alone = files(tmp_path / ".packed")
    release(tmp_path / ".work")
    stats = pack_of(tmp_path, bad_images="drop", workers=2)
    assert stats["decoded"] == 156
    assert files(tmp_path / ".packed") == alone
    assert not multiprocessing.active_children()


def test_an_interrupted_pack_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_data(tmp_path)
    pack_of(tmp_path)
    undisturbed = files(tmp_path / ".packed")
    release(tmp_path / ".work")
    monkeypatch.setattr(module, "IMAGES_A_TASK", 5)

    def interrupted(path: str, *options: object, **named: object) -> Radiograph:
        if path.endswith(image_path(17)):
            raise KeyboardInterrupt
        return read_radiograph(path, *options, **named)

    with monkeypatch.context() as patch:
        patch.setattr(processes, "read_radiograph", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack_of(tmp_path)
    shutil.rmtree(tmp_path / ".packed")  # as DVC does before it runs the stage again
    assert pack_of(tmp_path)["decoded"] == 46 - 15
    assert files(tmp_path / ".packed") == undisturbed


def pack_slowly(root: Path) -> None:
    """Packs, saving what is done after each image; runs in a process that the test kills."""
    module.IMAGES_A_TASK, unfinished.SECONDS_BETWEEN_SAVES = 1, 0.0
    processes.read_radiograph = lambda *options, **named: (time.sleep(0.01), read_radiograph(*options, **named))[1]
    pack_of(root)


def test_a_killed_pack_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    make_data(tmp_path, train=120)
    pack_of(tmp_path)
    undisturbed = files(tmp_path / ".packed")
    release(tmp_path / ".work")
    process = multiprocessing.get_context("spawn").Process(target=pack_slowly, args=(tmp_path,))
    process.start()
    state = tmp_path / ".work" / "state.npz"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (state.exists() and done_in(state) >= 5):
        time.sleep(0.01)
    process.kill()
    process.join()
    assert 0 < pack_of(tmp_path)["decoded"] < 126 - 4
    assert files(tmp_path / ".packed") == undisturbed


def done_in(state: Path) -> int:
    with np.load(state) as arrays:
        return int(arrays["done"].sum())


def pack_in_processes(root: Path) -> None:
    """Packs in two processes and slowly; runs in a process that the test kills."""
    processes.SECONDS_ALONE, processes.SECONDS_TO_START = 0.2, 0.0
    processes.read_radiograph = lambda *options, **named: (time.sleep(0.02), read_radiograph(*options, **named))[1]
    pack_of(root, workers=2)


def test_decoding_processes_end_when_the_run_is_killed(tmp_path: Path) -> None:
    make_data(tmp_path, train=1500)
    process = multiprocessing.get_context("spawn").Process(target=pack_in_processes, args=(tmp_path,))
    process.start()
    run = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(workers := decoders(run)) < 2:
        time.sleep(0.02)
    assert len(workers) == 2
    time.sleep(0.5)  # past their start, in which the parent's end would break them anyway
    process.kill()
    process.join()
    left = psutil.wait_procs(workers, timeout=30)[1]
    for worker in left:
        worker.kill()
    assert left == []


def decoders(run: psutil.Process) -> list[psutil.Process]:
    """The processes that decode for `run`, without multiprocessing's own helper."""
    return [child for child in run.children() if "resource_tracker" not in " ".join(child.cmdline())]


def test_after_a_stop_only_the_mended_images_are_decoded(tmp_path: Path) -> None:
    make_data(tmp_path)
    for patient in (4, 9):
        (tmp_path / image_path(patient)).write_bytes(b"")
    with pytest.raises(InputError, match="2 problems"):
        pack_of(tmp_path)
    for patient in (4, 9):
        write_image(tmp_path / image_path(patient), seed=patient)
    assert pack_of(tmp_path)["decoded"] == 2
    np.testing.assert_array_equal(open_packed(tmp_path / ".packed")[4], decode(tmp_path / image_path(4), 32))


def test_an_image_changed_during_an_interruption_is_decoded_again(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / image_path(9)).write_bytes(b"")
    with pytest.raises(InputError):
        pack_of(tmp_path)
    for patient in (9, 2):
        write_image(tmp_path / image_path(patient), seed=1000 + patient)
    assert pack_of(tmp_path)["decoded"] == 2
    np.testing.assert_array_equal(open_packed(tmp_path / ".packed")[2], decode(tmp_path / image_path(2), 32))


def test_a_finished_pack_that_dvc_lost_is_not_decoded_again(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / image_path(9)).write_bytes(b"")
    pack_of(tmp_path, bad_images="drop")
    first = files(tmp_path / ".packed")
    shutil.rmtree(tmp_path / ".packed")
    assert pack_of(tmp_path, bad_images="drop")["decoded"] == 0
    assert files(tmp_path / ".packed") == first


def test_a_finished_pack_is_never_written_again(tmp_path: Path) -> None:
    make_data(tmp_path)
    pack_of(tmp_path)
    cached = tmp_path / "cached.npy"
    os.link(tmp_path / ".packed" / "images.npy", cached)
    before = cached.read_bytes()
    write_image(tmp_path / image_path(0), seed=1000)
    pack_of(tmp_path)
    assert cached.read_bytes() == before
    assert (tmp_path / ".packed" / "images.npy").read_bytes() != before


def test_an_interruption_while_gaps_are_closed_costs_no_correctness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data(tmp_path)
    monkeypatch.setattr(npy, "ROWS_A_COPY", 4)
    for patient in (10, 20):
        (tmp_path / image_path(patient)).write_bytes(b"")
    pack_of(tmp_path, bad_images="drop")
    undisturbed = files(tmp_path / ".packed")
    release(tmp_path / ".work")
    calls = []

    def killed(file, offset: int, count: int) -> bytes:
        calls.append(offset)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return read_at(file, offset, count)

    read_at = npy._read_at
    with monkeypatch.context() as patch:
        patch.setattr(npy, "_read_at", killed)
        with pytest.raises(KeyboardInterrupt):
            pack_of(tmp_path, bad_images="drop")
    assert pack_of(tmp_path, bad_images="drop")["decoded"] == 46 - 10
    assert files(tmp_path / ".packed") == undisturbed


def test_work_for_another_size_is_removed_and_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_data(tmp_path)
    pack_of(tmp_path)
    capsys.readouterr()
    assert pack_of(tmp_path, size=40)["decoded"] == 46
    assert "removed" in capsys.readouterr().err
    assert open_packed(tmp_path / ".packed").shape == (46, 40, 40)


def test_a_damaged_state_starts_over(tmp_path: Path) -> None:
    make_data(tmp_path)
    pack_of(tmp_path)
    (tmp_path / ".work" / "state.npz").write_bytes(b"PK\x03\x04 torn")
    assert pack_of(tmp_path)["decoded"] == 46


def test_release_removes_the_work_and_leaves_the_packed_file(tmp_path: Path) -> None:
    make_data(tmp_path)
    pack_of(tmp_path)
    release(tmp_path / ".work")
    assert not (tmp_path / ".work").exists()
    assert len(open_packed(tmp_path / ".packed")) == 46
    release(tmp_path / ".work")


def test_a_full_disk_is_found_before_decoding_and_the_sum_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"46 images of 500 x 500 pixels take 0\.0 GB.*make room") as raised:
        pack_of(tmp_path, size=500)
    assert "\n" not in str(raised.value)


def test_a_pack_larger_than_a_file_may_be_is_refused_in_a_line(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    make_data(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(InputError, match=r"images\.npy: a file of 188,544 bytes is larger than") as raised:
            pack_of(tmp_path, size=64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / ".packed" / "images.npy").exists()


def test_tables_that_changed_since_the_inventory_are_refused(tmp_path: Path) -> None:
    make_data(tmp_path)
    inventory = inventory_file(tmp_path)
    make_data(tmp_path, train=41)
    with pytest.raises(InputError, match="changed after the inventory"):
        pack(tmp_path, inventory, tmp_path / ".packed", size=32, bad_images="stop", work=tmp_path / ".work", workers=1)


@pytest.mark.parametrize("images", [0, 1, 999_999_999_999])
def test_the_header_is_as_long_for_any_number_of_images(images: int) -> None:
    assert packed_bytes(images, 224) - images * 224 * 224 == packed_bytes(0, 224)


@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize("shape", [(320, 320), (390, 320), (320, 390), (256, 256)])
def test_a_png_becomes_what_resize_and_centre_crop_make_of_it(
    tmp_path: Path, size: int, shape: tuple[int, int]
) -> None:
    picture = Image.fromarray(gradient(*shape))
    picture.save(tmp_path / "a.png")
    expected = T.CenterCrop(size)(T.Resize(round(size * 256 / 224), antialias=True)(picture))
    difference = decode(tmp_path / "a.png", size).astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("shape", [(390, 320), (320, 390), (64, 64), (2320, 2800)])
def test_the_whole_film_is_seen_padded_or_stretched(tmp_path: Path, shape: tuple[int, int], suffix: str) -> None:
    picture = Image.fromarray(gradient(*shape))
    picture.save(tmp_path / f"a.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    whole = decode(tmp_path / f"a.{suffix}", 64, crop="stretch").astype(int)
    most = 1 if suffix == "png" else 6
    assert np.abs(whole - np.asarray(T.Resize((64, 64), antialias=True)(picture))).max() <= most
    padded = decode(tmp_path / f"a.{suffix}", 64, crop="pad").astype(int)
    height, width = (round(side * 64 / max(shape)) for side in reversed(shape))
    top, left = (64 - height) // 2, (64 - width) // 2
    inner = padded[top : top + height, left : left + width]
    assert np.abs(inner - np.asarray(T.Resize((height, width), antialias=True)(picture))).max() <= most
    padded[top : top + height, left : left + width] = 0
    assert not padded.any()


def test_packing_with_another_crop_decodes_anew(tmp_path: Path) -> None:
    make_data(tmp_path)
    inventory = inventory_file(tmp_path)
    packed = {}
    for crop in ("guide", "stretch", "guide"):
        options = {"size": 32, "bad_images": "stop", "work": tmp_path / ".work", "workers": 1, "crop": crop}
        done = pack(tmp_path, inventory, tmp_path / ".packed", **options)
        assert done["decoded"] == done["images"]
        images = np.array(open_packed(tmp_path / ".packed"))
        np.testing.assert_array_equal(packed.setdefault(crop, images), images)
    assert (packed["guide"] != packed["stretch"]).any()


def test_a_full_size_jpeg_scaled_while_decoding_differs_by_little(tmp_path: Path) -> None:
    picture = Image.fromarray(gradient(2320, 2828))
    picture.save(tmp_path / "a.jpg", quality=95)
    expected = T.CenterCrop(224)(T.Resize(256, antialias=True)(picture))
    assert np.abs(decode(tmp_path / "a.jpg", 224).astype(int) - np.asarray(expected)).max() <= 3


def test_a_full_size_jpeg_is_scaled_by_libjpeg(tmp_path: Path) -> None:
    saved = BytesIO()
    Image.fromarray(gradient(2320, 2828)).save(saved, "JPEG")
    assert read_picture(saved, JPEG, saved.getvalue()[:HEAD], 256).grey.size == (580, 707)


def test_a_constant_sixteen_bit_image_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 4000, np.uint16)).save(tmp_path / "a.png")
    assert not decode(tmp_path / "a.png", 32).any()


def test_a_link_inside_data_root_is_followed(tmp_path: Path) -> None:
    write_image(tmp_path / "root" / "a.jpg")
    try:
        (tmp_path / "root" / "b.jpg").symlink_to(tmp_path / "root" / "a.jpg")
        (tmp_path / "link").symlink_to(tmp_path / "root", target_is_directory=True)
    except OSError:
        pytest.skip("this user may not make symbolic links")
    expected = decode(tmp_path / "root" / "a.jpg", 32)
    np.testing.assert_array_equal(decode(tmp_path / "root" / "b.jpg", 32, tmp_path / "root"), expected)
    np.testing.assert_array_equal(decode(tmp_path / "link" / "b.jpg", 32, tmp_path / "link"), expected)


def test_a_sibling_of_root_with_a_longer_name_is_outside(tmp_path: Path) -> None:
    write_image(tmp_path / "root-2" / "a.jpg")
    with pytest.raises(ImageError, match="outside"):
        decode(tmp_path / "root-2" / "a.jpg", 32, tmp_path / "root")


def test_the_nih_images_pack_whole(nih: Path, tmp_path: Path) -> None:
    stats = pack_of(nih, tmp_path, size=64)
    assert (stats["images"], stats["dropped"]) == (1000, 0)
    assert 60 < open_packed(tmp_path / ".packed").mean() < 190
