"""Whatever encoding a film comes in, it is packed and predicted as its plain grey twin, or refused by name."""

import csv
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from diagxnet.data.packed import open_packed, read_dropped, read_index
from diagxnet.images.decode import ImageError, decode, read_radiograph, square
from diagxnet.images.grey import stretched
from diagxnet.prediction.inputs import list_inputs
from tests.bad_input import pack_of
from tests.dicoms import compress, needs_pydicom, write_dicom
from tests.encodings import DICOMS, ENCODINGS, SIZE, TURNS, Encoding, bmp, exif, film_of, png, reference, saved, tiff
from tests.radiographs import Row, image_path, make_data, write_table

DRAWN = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NAMED = re.compile(r"is (TIFF|PNG|BMP|JPEG|DICOM) (with|of|that|whose) ")


@pytest.mark.parametrize(
    "encoding",
    [*ENCODINGS, *(pytest.param(each, marks=needs_pydicom) for each in DICOMS)],
    ids=lambda encoding: encoding.name,
)
def test_an_encoding_is_read_as_its_plain_grey_twin_or_refused_by_name(tmp_path: Path, encoding: Encoding) -> None:
    encoding.write(tmp_path / "a.jpg")
    if encoding.refused:
        with pytest.raises(ImageError, match=re.escape(encoding.refused)):
            read_radiograph(tmp_path / "a.jpg", SIZE)
        return
    found = read_radiograph(tmp_path / "a.jpg", SIZE)
    allowed = max(encoding.loss, encoding.bits > 8)  # the twin's stretch is computed in float64
    assert np.abs(found.image.astype(int) - reference(encoding.film, encoding.bits)).max() <= allowed
    assert [doubt.about for doubt in found.doubts] == ([encoding.doubt] if encoding.doubt else [])
    np.testing.assert_array_equal(decode(tmp_path / "a.jpg", SIZE), found.image)


def check(path: Path, film: np.ndarray, bits: int) -> None:
    found = read(path)
    if isinstance(found, str):
        assert NAMED.match(found), found
    else:
        assert np.abs(found.astype(int) - reference(film, bits)).max() <= (bits > 8)


def read(path: Path) -> np.ndarray | str:
    try:
        return decode(path, SIZE)
    except ImageError as error:
        return str(error)


@st.composite
def films(draw: st.DrawFn, depths: list[int]) -> tuple[np.ndarray, int]:
    """[rows, columns] uint16 and its bits; with a marker burnt in, now and then."""
    bits = draw(st.sampled_from(depths))
    film = film_of(bits, (draw(st.integers(20, 60)), draw(st.integers(20, 60))), draw(st.integers(0, 99)))
    if draw(st.booleans()):
        film[1:4, 1 : 1 + len(film) // 20] = 2**bits - 1
    return film, bits


@DRAWN
@given(film=films([1, 2, 4, 8, 10, 12, 14, 16]), data=st.data())
def test_a_drawn_tiff_is_its_plain_grey_twin_or_refused_by_name(tmp_path, film, data):
    (film, bits), draw = film, data.draw
    held = draw(st.sampled_from([bits, 16 if bits > 8 else 8]))
    film, bits = (film, bits) if held == bits or bits > 8 else (film * (255 // (2**bits - 1)), 8)
    turn, white, signed = draw(st.sampled_from([*TURNS])), draw(st.booleans()), draw(st.booleans())
    colours, alpha = draw(st.sampled_from([(1, None), (1, None), (3, None), (1, 0), (1, 1), (1, 2), (3, 2)]))
    stored = TURNS[turn](film).astype(int)
    stored = 2**held - 1 - stored if white and colours == 1 else stored
    stored = stored - 2 ** (held - 1) if signed else stored
    channels = [stored] * colours + ([np.full_like(stored, 2**held - 1)] if alpha is not None else [])
    stored = channels[0] if len(channels) == 1 else np.stack(channels, 2)
    tags = {"order": draw(st.sampled_from("<>")), "kind": 2 if signed else 1, "t274": turn, "t338": alpha}
    photometric = 2 if colours == 3 else 0 if white else 1
    (tmp_path / "a").write_bytes(tiff(stored % 2**held, held, photometric=photometric, **tags))
    check(tmp_path / "a", film, bits)


@DRAWN
@given(film=films([1, 2, 4, 8, 16]), data=st.data())
def test_a_drawn_png_bmp_or_jpeg_is_its_plain_grey_twin_or_refused_by_name(tmp_path, film, data):
    (film, bits), draw = film, data.draw
    form = draw(st.sampled_from(["grey", "palette", "bmp", "RGB", "alpha", "RGB and alpha", "jpeg"]))
    turn = draw(st.sampled_from([*TURNS])) if form != "bmp" else 1
    stored, full = TURNS[turn](film), 2**bits - 1
    tags = {"eXIf": exif(turn)[6:]}
    if form == "jpeg":
        content = saved(Image.fromarray((stored * (255 / full)).astype(np.uint8)), "JPEG", quality=100, exif=exif(turn))
        film = np.asarray(decode_plainly(content, turn))
        bits = 8
    elif bits <= 8 and form in ("palette", "bmp"):
        order = draw(st.permutations(range(full + 1)))
        places, greys = np.argsort(order)[stored], [round(place * 255 / full) for place in order]
        if form == "palette":
            content = png(places, bits, 3, PLTE=bytes(grey for value in greys for grey in (value,) * 3), **tags)
        else:
            content = bmp(places, 8 if bits == 2 else bits, greys)
    elif bits >= 8 and form in ("RGB", "alpha", "RGB and alpha"):
        colours = [stored] * (3 if "RGB" in form else 1) + ([np.full_like(stored, full)] if "alpha" in form else [])
        content = png(np.stack(colours, 2), bits, {"RGB": 2, "alpha": 4, "RGB and alpha": 6}[form], **tags)
    else:
        content = png(stored, bits, **tags)
    (tmp_path / "a").write_bytes(content)
    check(tmp_path / "a", film, bits)


def decode_plainly(content: bytes, turn: int) -> np.ndarray:
    """What libjpeg makes of a JPEG, turned upright."""
    upright = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    return TURNS[upright[turn]](np.asarray(Image.open(BytesIO(content)).convert("L")))


@needs_pydicom
@settings(DRAWN, max_examples=60)
@given(film=films([8, 10, 12, 14, 16]), data=st.data())
def test_a_drawn_dicom_is_its_plain_grey_twin_or_refused_by_name(tmp_path, film, data):
    (film, bits), draw = film, data.draw
    signed, negative, turned = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    stored = film.astype(int)
    stored = 2**bits - 1 - stored if negative != turned else stored
    stored = stored - 2 ** (bits - 1) if signed else stored
    tags = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": int(signed)}
    tags["PhotometricInterpretation"] = "MONOCHROME1" if negative else "MONOCHROME2"
    tags |= {
        "RescaleSlope": -1 if turned else 1,
        "RescaleIntercept": draw(st.sampled_from([0, -1024])) if bits > 8 else 0,
    }
    content = stored.astype("<i2" if signed else "<u2").tobytes()
    path = write_dicom(tmp_path / "a", film, PixelData=content, **tags)
    syntax = draw(st.sampled_from(["", "RLELossless", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"]))
    if syntax:
        compress(path, syntax)
    if bits == 8 and turned:
        film, bits = film * np.uint16(256), 16  # rescaled samples are stretched, whatever their bits
    check(path, film, bits)


@pytest.mark.parametrize("marker", [0, 65_535])
def test_a_marker_burnt_into_a_12_bit_film_takes_none_of_its_greys(marker: int) -> None:
    film = film_of(12, (200, 200)) + 8_000
    marked = film.copy()
    marked[10:30, 10:40] = marker  # 1.5% of the samples
    plain, found = np.asarray(stretched(film)), np.asarray(stretched(marked))
    outside = marked != marker
    np.testing.assert_array_equal(found[outside], plain[outside])
    assert (found[~outside] == (0 if marker == 0 else 255)).all()
    assert len(np.unique(found)) > 200


def test_a_film_that_is_nearly_all_background_is_stretched_from_its_least_to_its_most() -> None:
    film = np.zeros((100, 100), np.uint16)
    film[50, :100] = np.arange(100) * 40
    np.testing.assert_array_equal(np.asarray(stretched(film))[50], np.rint(np.arange(100) * 40 * (255 / 3960)))


def test_eight_bits_stay_as_they_are_whatever_marker_is_in_them(tmp_path: Path) -> None:
    film = (film_of(8, (60, 60)) // 4).astype(np.uint8)
    film[:3, :3] = 255
    Image.fromarray(film).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png", SIZE), square(Image.fromarray(film), SIZE))


def test_a_radiograph_of_values_that_are_no_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(np.full((40, 40), np.nan), 32, kind=3))
    with pytest.raises(ImageError, match="holds values that are no numbers"):
        decode(tmp_path / "a.tif", SIZE)


def test_in_a_folder_a_picture_is_found_by_its_first_bytes_and_other_files_are_passed_over(tmp_path: Path) -> None:
    film = Image.fromarray(film_of(8).astype(np.uint8))
    for name, form in (("IM1", "JPEG"), ("IM2", "WEBP"), ("notes.pdf", "PDF"), ("scan.webp", "WEBP")):
        film.save(tmp_path / name, form)
    (tmp_path / "labels.txt").write_text("a table", encoding="utf-8")
    items, passed = list_inputs([tmp_path])
    assert [item.name for item in items] == ["IM1", "IM2", "scan.webp"]
    assert [path.name for path in passed] == ["labels.txt", "notes.pdf"]


@needs_pydicom
def test_training_packs_what_predict_reads_with_the_same_doubts_and_reasons(tmp_path: Path) -> None:
    encodings = [*ENCODINGS, *DICOMS]
    rows = [Row(image_path(number), labels={"Edema": "1.0"}) for number in range(len(encodings))]
    write_table(tmp_path / "train.csv", rows)
    for row, encoding in zip(rows, encodings, strict=True):
        (tmp_path / row.path).parent.mkdir(parents=True)
        encoding.write(tmp_path / row.path)
    pack_of(tmp_path, size=SIZE, bad_images="drop")
    images, index = open_packed(tmp_path / ".packed"), read_index(tmp_path / ".packed")
    doubts = []
    for row in index.itertuples():
        found = read_radiograph(tmp_path / row.path, SIZE, tmp_path)
        np.testing.assert_array_equal(images[row.row], found.image)
        doubts += [["train", row.path, str(doubt)] for doubt in found.doubts]
    assert lines(tmp_path / ".packed" / "doubts.csv") == doubts != []
    for row in read_dropped(tmp_path / ".packed").itertuples():
        with pytest.raises(ImageError, match=re.escape(row.reason)):
            read_radiograph(tmp_path / row.path, SIZE, tmp_path)
    assert len(images) + len(read_dropped(tmp_path / ".packed")) == len(encodings)


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def test_pack_counts_doubtful_images_with_examples_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_data(tmp_path, train=8, valid=0)
    for number in range(5):
        Image.new("L", (64, 64), 90).save(tmp_path / image_path(number))
    stats = pack_of(tmp_path, size=SIZE)
    assert (stats["images"], stats["dropped"]) == (8, 0)
    said = capsys.readouterr().err
    assert "of 8 images are doubtful, and packed" in said
    assert f"hardly any contrast: 5 ({', '.join(image_path(number) for number in range(3))}, ...)" in said
    assert len(lines(tmp_path / ".packed" / "doubts.csv")) >= 5


def test_a_lateral_view_is_not_doubted_for_being_none_from_the_front(tmp_path: Path) -> None:
    film = film_of(8)[:, ::-1].T.copy()
    views = ["Frontal", "Lateral"]
    write_table(tmp_path / "train.csv", [Row(image_path(number), view=view) for number, view in enumerate(views)])
    for number in range(2):
        (tmp_path / image_path(number)).parent.mkdir(parents=True)
        (tmp_path / image_path(number)).write_bytes(png(film, 8))
    pack_of(tmp_path, size=SIZE)
    doubted = lines(tmp_path / ".packed" / "doubts.csv")
    assert [path for _, path, _ in doubted] == [image_path(0)]


def test_doubts_of_an_interrupted_pack_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_data(tmp_path, train=6, valid=0)
    Image.new("L", (64, 64), 90).save(tmp_path / image_path(1))
    (tmp_path / image_path(4)).write_bytes(b"")
    with pytest.raises(Exception, match="is empty"):
        pack_of(tmp_path, size=SIZE)
    Image.new("L", (64, 64), 90).save(tmp_path / image_path(4))
    capsys.readouterr()
    assert pack_of(tmp_path, size=SIZE)["decoded"] == 1
    assert f"hardly any contrast: 2 ({image_path(1)}, {image_path(4)})" in capsys.readouterr().err
    again = pack_of(tmp_path, size=SIZE)
    assert again["decoded"] == 0
    assert f"hardly any contrast: 2 ({image_path(1)}, {image_path(4)})" in capsys.readouterr().err
