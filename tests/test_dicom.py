"""DICOM: samples reach the models as a viewer would show them, whatever their encoding, and patients stay unnamed."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diagxnet.images.decode import ImageError, read_radiograph
from diagxnet.images.dicom import displayed, read_dicom
from diagxnet.images.doubts import Doubt
from tests.dicoms import PATIENT, compress, needs_pydicom, write_dicom

pytestmark = needs_pydicom

SYNTAXES = ["RLELossless", "JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"]


@pytest.fixture
def samples() -> np.ndarray:
    """[40, 48] uint16, 12 bits: a slope, so that a turn, a mirror or another window shows."""
    return (np.arange(40)[:, None] * 40 + np.arange(48)[None] * 30 + 300).astype(np.uint16)


def read(path: Path) -> np.ndarray:
    return displayed(path)[0]


def test_samples_are_read_as_stored_where_nothing_else_is_asked(tmp_path, samples):
    path = write_dicom(tmp_path / "1.2.840.113", samples)
    found, doubts = displayed(path)
    assert doubts == []
    np.testing.assert_array_equal(found, samples.astype(np.float32))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_losslessly_compressed_file_gives_the_same_samples(tmp_path, samples, syntax):
    path = compress(write_dicom(tmp_path / "a.dcm", samples), syntax)
    np.testing.assert_array_equal(read(path), samples)


def test_an_eight_bit_jpeg_inside_gives_nearly_the_same_samples(tmp_path, samples):
    small = (samples // 16).astype(np.uint16)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": small.astype(np.uint8).tobytes()}
    path = compress(write_dicom(tmp_path / "a.dcm", small, **eight), "JPEGBaselineProcess1")
    assert np.abs(read(path) - small).max() <= 4


def test_monochrome1_is_turned_round(tmp_path, samples):
    path = write_dicom(tmp_path / "a.dcm", samples, PhotometricInterpretation="MONOCHROME1")
    turned = read(path)
    np.testing.assert_array_equal(turned, -samples.astype(np.float32))


def test_rescale_and_window_are_applied_as_a_viewer_does(tmp_path, samples):
    rescale = {"RescaleSlope": 2.0, "RescaleIntercept": -1000.0}
    rescaled = samples * 2.0 - 1000
    np.testing.assert_allclose(read(write_dicom(tmp_path / "a.dcm", samples, **rescale)), rescaled)
    centre, width = 1500.0, 1001.0
    shown = read(write_dicom(tmp_path / "b.dcm", samples, **rescale, WindowCenter=centre, WindowWidth=width))
    inside = (rescaled > centre - 0.5 - (width - 1) / 2) & (rescaled <= centre - 0.5 + (width - 1) / 2)
    expected = np.clip((rescaled - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)  # DICOM PS3.3 C.11.2.1.2
    np.testing.assert_allclose((shown - shown.min()) / (shown.max() - shown.min()), expected, atol=1e-6)
    assert 0 < inside.sum() < inside.size


def test_an_impossible_window_is_left_out_and_said(tmp_path, samples):
    found, doubts = displayed(write_dicom(tmp_path / "a.dcm", samples, WindowCenter=100.0, WindowWidth=0.0))
    np.testing.assert_array_equal(found, samples)
    assert [str(doubt) for doubt in doubts] == ["has an invalid VOI window: it was left out"]


def test_padding_does_not_stretch_the_greys(tmp_path, samples):
    padded = samples.copy()
    padded[:, :5] = 4095
    shown = read(write_dicom(tmp_path / "a.dcm", padded, PixelPaddingValue=4095))
    assert (shown[:, :5] == samples[:, 5:].min()).all()
    assert shown.max() == samples[:, 5:].max()


def test_the_same_picture_as_png_and_as_dicom_is_the_same_to_the_models(tmp_path, samples):
    Image.fromarray(samples).save(tmp_path / "a.png")
    write_dicom(tmp_path / "a.dcm", samples)
    png, dicom = (read_radiograph(tmp_path / name, 32).image for name in ("a.png", "a.dcm"))
    np.testing.assert_array_equal(png, dicom)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")  # while it is written
@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"PixelData": None}, "is DICOM without an image"),
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "is DICOM with the photometric interpretation PALETTE COLOR, which is not read",
        ),
        ({"NumberOfFrames": 3}, "is DICOM with 3 frames"),
        ({"Rows": 20_000, "Columns": 20_000}, "has 20,000 x 20,000 pixels, more than"),
        ({"PhotometricInterpretation": "A\x1b[2J"}, r"photometric interpretation A\\x1b\[2J, which"),
        ({"PixelData": bytes(3 * 2 * 40 * 48)}, "has more or fewer pixels than its header says"),
        ({"PixelData": b"\0\0"}, "is truncated or damaged"),
        ({"Rows": None}, "is truncated or damaged"),
    ],
)
def test_what_is_no_radiograph_is_refused_with_its_reason(tmp_path, samples, tags, said):
    with pytest.raises(ImageError, match=said):
        read_dicom(write_dicom(tmp_path / "a.dcm", samples, **tags))


@pytest.mark.parametrize(
    ("syntax", "said"),
    [
        (None, "is DICOM that does not say how it is encoded"),
        ("1.2.840.10008.1.2.1.99", "is deflated DICOM, which is not read"),
    ],
)
def test_a_file_of_no_encoding_or_a_deflated_one_is_refused(tmp_path, samples, syntax, said):
    import pydicom

    path = write_dicom(tmp_path / "a.dcm", samples)
    dataset = pydicom.dcmread(path)
    if syntax is None:
        del dataset.file_meta.TransferSyntaxUID
    else:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.save_as(path)
    with pytest.raises(ImageError, match=said):
        read_dicom(path)


def test_pixels_are_not_read_before_their_number_is_checked(tmp_path, samples):
    path = write_dicom(tmp_path / "a.dcm", samples, Rows=20_000, Columns=20_000, PixelData=bytes(32 << 20))
    with pytest.raises(ImageError):
        read_dicom(path)  # imports done
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="has 20,000 x 20,000 pixels"):
            read_dicom(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_pixels_that_are_read_late_are_the_same(tmp_path):
    large = np.random.default_rng(0).integers(0, 4096, (800, 900)).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", large)
    np.testing.assert_array_equal(read(path), large)
    np.testing.assert_array_equal(read(compress(path, "JPEGLSLossless")), large)


def test_a_truncated_file_is_refused(tmp_path, samples):
    path = write_dicom(tmp_path / "a.dcm", samples)
    content = path.read_bytes()
    for length in (140, len(content) // 2, len(content) - 100):
        path.write_bytes(content[:length])
        with pytest.raises(ImageError):
            read_dicom(path)


def test_no_word_about_a_patient_is_passed_on(tmp_path, samples, capfd, recwarn):
    path = write_dicom(tmp_path / "a.dcm", samples, PatientBirthDate="19x", WindowCenter=1.0, WindowWidth=0.0)
    recwarn.clear()  # pydicom warned while it was written
    content = path.read_bytes()
    said = [*map(str, read_dicom(path).doubts)]
    path.write_bytes(content[: len(content) - 100])
    with pytest.raises(ImageError) as caught:
        read_dicom(path)
    said += [str(caught.value), *(str(each.message) for each in recwarn), *capfd.readouterr()]
    assert PATIENT.split("^")[0] not in "".join(said)
    assert "19x" not in "".join(said)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")  # while it is written
@pytest.mark.parametrize(("modality", "shown"), [("CT", "CT"), ("C\x1b[2J", "C\\x1b[2J")])
def test_another_modality_is_doubtful(tmp_path, samples, modality, shown):
    path = write_dicom(tmp_path / "a.dcm", samples, Modality=modality)
    assert read_dicom(path).doubts == (Doubt("is no radiography", f"its modality is {shown}"),)


def test_without_pydicom_the_message_says_what_to_install(tmp_path, samples, monkeypatch):
    path = write_dicom(tmp_path / "a.dcm", samples)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(
        ImageError, match=r"is DICOM, which needs pydicom: .*pip install -c constraints.txt pydicom python-gdcm"
    ):
        read_dicom(path)


def test_without_a_decoder_the_transfer_syntax_is_named(tmp_path, samples, monkeypatch):
    import pydicom.pixels

    path = compress(write_dicom(tmp_path / "a.dcm", samples), "JPEGLosslessProcess14_1")
    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda syntax: type("None", (), {"is_available": False}))
    with pytest.raises(ImageError, match=r"JPEG Lossless.*cannot be decoded here: python -m pip install"):
        read_dicom(path)
