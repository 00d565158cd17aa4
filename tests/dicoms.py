"""DICOM files as the tests need them, written by pydicom and, where compressed, by GDCM."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

needs_pydicom = pytest.mark.skipif(
    find_spec("pydicom") is None or find_spec("gdcm") is None, reason="pydicom and python-gdcm are extras"
)
PATIENT = "SECRET^NAME"


def write_dicom(path: Path, samples: np.ndarray, **tags: object) -> Path:
    """A DICOM file of `samples` [rows, columns] uint16, 12 bits of them used; `tags` by keyword, None removes one."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.Modality = PATIENT, "SECRET-ID", "CR"
    dataset.Rows, dataset.Columns = samples.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = samples.astype("<u2").tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def compress(path: Path, syntax: str) -> Path:
    """Compresses the file in place; syntax: an attribute of gdcm.TransferSyntax."""
    import gdcm
    import pydicom

    before = pydicom.dcmread(path).file_meta.TransferSyntaxUID
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID != before
    return path
