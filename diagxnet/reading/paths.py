"""What the path of an image says: where it is under `data.root`, and whose it is.

A patient is recognised by a name that the field gives to patients alone, never by a folder's place: in a tree of
patient/date/series the same place would hold dates, and a split by date puts one patient into train and test. What is
named otherwise has no patient here, and the table must name a column that holds him.
"""

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

PATIENT_FOLDER = re.compile(
    r"(?<![^/])(?:"
    r"patient[-_]?[0-9]+"  # CheXpert, CheXphoto, MURA: patient00001/study1/view1_frontal.jpg
    r"|p[0-9]{8}(?=/s[0-9]{8}/)"  # MIMIC-CXR: p10/p10000032/s50414267/x.jpg
    r"|sub-[0-9a-z]+"  # BIDS, as BIMCV-COVID19+ has it: sub-S03693/ses-E08061/mod-rx/x.png
    r")(?=/)",
    re.IGNORECASE,
)
CHESTXRAY14 = re.compile(r"(?<![^/])images/(?P<patient>000[0-3][0-9]{4})_(?P<follow_up>[0-9]{3})\.png$")
"""ChestX-ray14 has no folders of patients; its 30,805 are in the names of files. Eight digits alone may be a date."""

NAMED_LIKE = "patient00001/, p10000032/s50414267/, sub-01/ or ChestX-ray14's images/00000001_000.png"
LEVELS = 4
"""So many levels of folders are counted in a refusal."""


class Owner(NamedTuple):
    """Whose an image is by its path. patient: his name. place: the path down to him. study: its name below him; the
    image's own where no folder stands for it, as then nothing says which images belong together."""

    patient: str
    place: str
    study: str


def below(root: str | Path) -> Callable[[str], str]:
    """`under_root` for the tables of `root`: a first component that is a folder there is one, and no release's name."""
    folders: dict[str, bool] = {}

    def is_folder(name: str) -> bool:
        if name not in folders:
            folders[name] = os.path.isdir(os.path.join(root, name))
        return folders[name]

    return lambda path: under_root(path, is_folder)


def under_root(path: str, is_folder: Callable[[str], bool] = lambda name: False) -> str:
    """What a table says of an image's place, as a path below data.root; backslashes separate, too.

    Of several components the first falls away, as it names the release (`CheXpert-v1.0-small/train/...`), unless
    `is_folder` says that it is one of data.root's. Raises ValueError with the reason where the path names no image, is
    absolute, or leaves data.root.
    """
    if not path.isprintable() or not path:
        raise ValueError("must name an image" if not path else "holds characters that cannot be printed")
    parts = path.replace("\\", "/").split("/")
    if parts[0] == "" or re.fullmatch("[A-Za-z]:", parts[0][:2]):
        raise ValueError("is absolute; it must be below data.root")
    if ".." in parts:
        raise ValueError("leaves data.root by '..'")
    if ":" in path and any(re.match("[A-Za-z]:", part) for part in parts):
        raise ValueError("leaves data.root by a drive letter")  # Windows takes one in the middle of a path, too
    if len(parts) > 1 and not (parts[0] != "." and is_folder(parts[0])):
        del parts[0]
    parts = [part for part in parts if part not in ("", ".")]
    if not parts:
        raise ValueError("must name an image, not a folder")
    return "/".join(parts)


def leads_out(path: str | Path, root: str | Path, linked: str | Path | None) -> bool:
    """Whether the file behind every link of `path` is neither under `root` nor under the folder `linked`."""
    real = os.path.realpath(path)
    return not any(real.startswith(os.path.join(os.path.realpath(each), "")) for each in (root, linked) if each)


def owner_of(path: str) -> Owner | None:
    """Patient and study of a path below data.root; None where its names leave a doubt, as two patients' names do."""
    found = [*PATIENT_FOLDER.finditer(path)]
    if not found:
        named = CHESTXRAY14.search(path)
        return Owner(named["patient"], named["patient"], named["follow_up"]) if named else None
    if len(found) > 1:
        return None
    end = found[0].end()
    return Owner(found[0][0], path[:end], path[end + 1 :].partition("/")[0])


def doubt(paths: Collection[str], lines: Collection[int], rows: int) -> str:
    """Why the `paths` below data.root, of `rows` in the table, name no patient, and what was seen of them.

    lines: the line of each in the table. Of each level of folders it says how many patients it would make.
    """
    folders = [path.split("/")[:-1] for path in paths]
    depths = sorted({len(parts) for parts in folders})
    made = [len({parts[level] for parts in folders if len(parts) > level}) for level in range(min(depths[-1], LEVELS))]
    studies = len({tuple(parts) for parts in folders})
    levels = ", ".join(map(str, range(1, len(made) + 1)))
    numbers = ", ".join(f"{patients:,}" for patients in made)
    guessed = f"; by their place those at level {levels} would make {numbers} patients, of {studies:,} studies"
    return (
        f"{len(paths):,} of {rows:,} rows do not say which patient it is, line {next(iter(lines))} first: "
        f"{next(iter(paths))!r} ({'/'.join(map(str, depths[:LEVELS]))} folders deep{guessed if made else ''}); a path "
        f"tells by one name like {NAMED_LIKE}"
    )
