"""Where the images of a table lie: below its folder as the table says it, or in a release's batch folders.

CheXpert at full resolution comes in four archives, unpacked as `CheXpert-v1.0 batch 1 (validate & csv)` with train.csv,
valid.csv and `valid/patient64541/`, and `CheXpert-v1.0 batch 2 (train 1)` to `batch 4 (train 3)` with patients directly
in them, while the tables say `CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg`.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from diagxnet.console.errors import InputError
from diagxnet.reading.paths import below, owner_of

BATCH = re.compile(r"(?<![a-z])batch[ _-]?[0-9]+(?![0-9])", re.IGNORECASE)
"""In the name of a folder that holds a part of a release."""

PATIENT = re.compile(r"patient[-_]?[0-9]+", re.IGNORECASE)
LEVELS = 2
"""So many folders may stand between a batch folder and its patients, as in `batch 1 (validate & csv)/valid/`."""

SPLIT = ""
"""The place of a study whose images lie in several."""


class Places:
    """Of the tables of `root`, or of a table whose images may also lie below the folder `near` that it is in.

    A path is what a table says of an image, below its root (see `paths.under_root`): it names the image, in every
    layout alike. A file is where the image lies: below `root`, or absolute where only `near` holds it.
    """

    def __init__(self, root: str | Path, near: str | Path | None = None) -> None:
        self.root, self._own, self._near = Path(root), _Folder(root, ""), None
        if near is not None and os.path.realpath(near) != os.path.realpath(root):
            self._near = _Folder(near, f"{_below(near, root)}/")

    def find(self, cell: str) -> tuple[str, str]:
        """Path and file of what a cell names, an image or a folder; ValueError where it names none (see `below`), or a
        folder that is split."""
        if self._near is not None:
            path = self._near.below(cell)
            file = self._near.file(path)
            if os.path.exists(os.path.join(self.root, file)):
                return path, file
        path = self._own.below(cell)
        return path, self._own.file(path)

    @property
    def named(self) -> str:
        return " or ".join(str(folder.root) for folder in (self._near, self._own) if folder is not None)


class _Folder:
    def __init__(self, root: str | Path, prefix: str) -> None:
        self.root, self.prefix = root, prefix
        self.below = below(root)
        self.patients, self.shared = _index(root)

    def file(self, path: str) -> str:
        inside = self._inside(path) if self.patients else path
        return f"{self.prefix}{inside}" if self.prefix else inside

    def _inside(self, path: str) -> str:
        owner = owner_of(f"{path}/")
        if owner is None or owner.patient not in self.patients:
            return path
        rest = path[len(owner.place) :]
        place = self.shared.get(f"{owner.patient}{rest}", self.patients[owner.patient])
        if place == SPLIT:
            raise ValueError("its images lie in two batch folders (put them into one)")
        return f"{place}/{owner.patient}{rest}"


def batch_folders(root: str | Path) -> list[str]:
    """Names of the folders below `root` that hold parts of a release, sorted."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if BATCH.search(entry.name) and entry.is_dir())
    except OSError:
        return []


def _below(folder: str | Path, root: str | Path) -> str:
    """`folder` as a path below `root`, absolute where it is elsewhere."""
    folder, root = os.path.abspath(folder), os.path.abspath(root)
    inside = folder.startswith(os.path.join(root, ""))
    return (os.path.relpath(folder, root) if inside else folder).replace(os.sep, "/")


def _index(root: str | Path) -> tuple[dict[str, str], dict[str, str]]:
    """Where below `root` each patient's folder lies, and of patients with several the place of each image and study,
    or SPLIT; nothing where there are no batch folders. InputError where an image is in two of them."""
    batches = batch_folders(root)
    if not batches:
        return {}, {}
    places: dict[str, list[str]] = {}
    for batch in batches:
        for place, patient in _patients(root, batch, LEVELS):
            places.setdefault(patient, []).append(place)
    for entry in os.scandir(root):
        if entry.name not in batches and entry.is_dir():
            for place, patient in _patients(root, entry.name, 0):
                places.setdefault(patient, []).append(place)
    shared: dict[str, str] = {}
    for patient in (name for name, own in places.items() if len(own) > 1):
        for place in places[patient]:
            for image in _images(os.path.join(root, place, patient)):
                other = shared.setdefault(f"{patient}/{image}", place)
                if other != place:
                    raise InputError(
                        f"{root}: {patient}/{image} is in two folders, {other} and {place}: which one is meant, no "
                        "table says (leave one of the two)"
                    )
                study = f"{patient}/{os.path.dirname(image)}"
                if shared.setdefault(study, place) != place:
                    shared[study] = SPLIT
    return {patient: own[0] for patient, own in places.items()}, shared


def _patients(root: str | Path, place: str, levels: int) -> Iterator[tuple[str, str]]:
    """Place below `root` and name of each patient's folder in the folder `place`, or `levels` deeper."""
    with os.scandir(os.path.join(root, place)) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir())
    for name in folders:
        if PATIENT.fullmatch(name):
            yield place, name
        elif levels:
            yield from _patients(root, f"{place}/{name}", levels - 1)


def _images(folder: str) -> Iterator[str]:
    """Files below `folder`, as paths there."""
    for parent, _, files in os.walk(folder):
        inner = os.path.relpath(parent, folder).replace(os.sep, "/")
        yield from (name if inner == "." else f"{inner}/{name}" for name in files if not name.startswith("."))
