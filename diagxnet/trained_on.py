"""What an ensemble was trained on, as hashes: so that no other stage scores it on what it has seen.

`models/trained_on.npz` travels with the models and names nobody: a hash of each patient's name, size and content hash
of each image, of every split but test (train and stack are learned from; on val trainings are stopped and
probabilities and thresholds fitted).
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError
from diagxnet.data.draws import hash_texts
from diagxnet.data.files import content_hash, read_arrays, read_json, write_arrays
from diagxnet.data.prepared import read_manifest

FILE = "trained_on.npz"
"""Its name in the models folder."""

SHOWN = 3
FILES_AT_ONCE = 4096
ALLOW_PATIENTS, ALLOW_IMAGES = "--allow-known-patients", "--allow-known-images"


@dataclass(frozen=True)
class TrainedOn:
    """patients: [patients] uint64, sorted, a hash of each name. sizes: [images] int64, bytes of each file. digests:
    [images, 16] uint8, MD5 of each file's content."""

    patients: np.ndarray
    sizes: np.ndarray
    digests: np.ndarray

    def known_patients(self, patients: Iterable[str]) -> list[str]:
        """Those of `patients` whose name is that of a patient trained on, each once, sorted."""
        unique = sorted(set(patients))
        found = np.isin(hash_patients(unique), self.patients)
        return [patient for patient, known in zip(unique, found, strict=True) if known]

    def known_images(self, root: Path, files: Sequence[str]) -> list[str]:
        """Those of `files` (under `root`) whose content is an image trained on, in their order.

        Only files of a size that some image trained on has are read.
        """
        digests = {digest.tobytes() for digest in self.digests}
        sizes = set(self.sizes.tolist())

        def known(name: str) -> bool:
            file = root / name
            try:
                return file.stat().st_size in sizes and bytes.fromhex(content_hash(file)) in digests
            except OSError:
                return False  # a file that is missing or cannot be read is reported where it is decoded

        found: list[str] = []
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(files), FILES_AT_ONCE):
                part = files[start : start + FILES_AT_ONCE]
                found += [file for file, is_known in zip(part, pool.map(known, part), strict=True) if is_known]
        return found


def hash_patients(patients: Iterable[str]) -> np.ndarray:
    """A hash of each name: [patients] uint64."""
    return hash_texts(patients, seed=0, purpose="patient")


def collect(inventory: Path, prepared: Path) -> TrainedOn:
    """From data/inventory.json and the manifest in data/prepared; InputError where they are of different data."""
    manifest = read_manifest(prepared)
    seen = manifest[manifest["split"] != "test"]
    images = read_json(inventory)["images"]
    missing = [path for path in seen["path"] if images.get(path) is None]
    if missing:
        raise InputError(
            f"{inventory}: lacks {len(missing):,} images of {prepared / 'manifest.csv'}, {missing[0]} first "
            "(run: dvc repro)"
        )
    entries = [images[path] for path in seen["path"]]
    digests = b"".join(bytes.fromhex(entry["hash"]) for entry in entries)
    return TrainedOn(
        np.unique(hash_patients(seen["patient"].unique())),
        np.array([entry["size"] for entry in entries], np.int64),
        np.frombuffer(digests, np.uint8).reshape(-1, 16),
    )


def write_trained_on(path: Path, trained_on: TrainedOn) -> None:
    write_arrays(path, **vars(trained_on))


def read_trained_on(path: Path) -> TrainedOn:
    """The content of models/trained_on.npz; InputError where it is missing or damaged."""
    try:
        return TrainedOn(**read_arrays(path))
    except FileNotFoundError:
        raise InputError(
            f"{path}: not there, so nobody can tell what these models were trained on (make it where they were "
            f"trained, with: dvc repro trained_on; or give {ALLOW_PATIENTS} and {ALLOW_IMAGES} to go on unchecked)"
        ) from None
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise InputError(f"{path}: damaged: {error} (make it again: dvc repro -f trained_on)") from None


def check_unknown(
    trained_on: TrainedOn | None, root: Path, frame: pd.DataFrame, *, allow_patients: bool, allow_images: bool
) -> dict:
    """Raises InputError where a patient or an image of `frame` was trained on and that is not allowed.

    trained_on: None where it is not known and both are allowed. frame: [rows] with columns file (under `root`) and
    patient. Returns {"checked", "known_patients", "known_images"}: whether anything was compared, and the counts.
    """
    if trained_on is None:
        return {"checked": False, "known_patients": None, "known_images": None}
    patients = trained_on.known_patients(frame["patient"])
    images = trained_on.known_images(root, frame["file"].tolist())
    if images and not allow_images:
        raise InputError(
            f"{root}: {len(images):,} of {len(frame):,} images were trained on: {listed(images)} (take them out, or "
            f"give {ALLOW_IMAGES})"
        )
    if patients and not allow_patients:
        raise InputError(
            f"{root}: {len(patients):,} of {frame['patient'].nunique():,} patients have the name of one trained on: "
            f"{listed(patients)} (take them out; where the two sets number their patients independently, so that equal "
            f"names are other people, give {ALLOW_PATIENTS})"
        )
    return {"checked": True, "known_patients": len(patients), "known_images": len(images)}


def listed(names: Sequence[str]) -> str:
    """The first three names, and that there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
