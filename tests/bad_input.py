"""The one table of bad input: how each case is made, what must refuse it, and the message that the user reads.

A case's `make(folder)` makes the bad input below the empty `folder` and returns the call that must raise InputError;
in `message`, {root} stands for `folder`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from diagxnet.data.inventory import take_inventory, write_inventory
from diagxnet.data.pack import pack
from diagxnet.data.prepare import prepare
from diagxnet.findings import KEYS
from tests.radiographs import image_path, make_data

MEND_TABLE = "(mend the table, or take those rows out)"
MEND_IMAGE = "(mend these images or take their rows out, or set data.bad_images to drop)"
FIRST = image_path(0)
WINDOWS_PATH = f"C:\\release\\{FIRST}"


@dataclass(frozen=True)
class BadInput:
    """A case of bad input; `needs_links`: it can be made only where the platform lets a user make symbolic links."""

    name: str
    make: Callable[[Path], Callable[[], object]]
    message: str
    needs_links: bool = False


def inventory_of(root: Path) -> dict:
    return take_inventory(root, cache=root / ".cache")


def inventory_file(root: Path, folder: Path | None = None) -> Path:
    """The inventory of `root`, written into `folder` (default: `root`)."""
    folder = folder or root
    write_inventory(folder / ".inventory.json", take_inventory(root, cache=folder / ".cache"))
    return folder / ".inventory.json"


def pack_of(root: Path, folder: Path | None = None, **changes: object) -> dict:
    """Packs `root` into `folder`/.packed (default: `root`/.packed)."""
    folder = folder or root
    arguments = {"size": 32, "bad_images": "stop", "work": folder / ".work", "workers": 1} | changes
    return pack(root, inventory_file(root, folder), folder / ".packed", **arguments)


def prepare_of(root: Path, **changes: object) -> dict:
    pack_of(root, bad_images="drop")
    arguments = {
        "views": "all",
        "uncertain": dict.fromkeys(KEYS, "ignore"),
        "blank": "negative",
        "split_seed": 1,
        "max_patients": None,
        "shares": {"val": 0.2, "stack": 0.2, "test": 0.2},
    }
    return prepare(root, root / ".packed", root / ".prepared", **arguments | changes)


def table(edit: Callable[[str], str], name: str = "train.csv", encoding: str = "utf-8") -> Callable:
    """A case whose table `name` is edited; taking the inventory must refuse it."""

    def make(root: Path) -> Callable[[], object]:
        make_data(root)
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_bytes(edit(text).encode(encoding))
        return lambda: inventory_of(root)

    return make


def first_row(old: str, new: str) -> Callable:
    """A case whose first row (line 2 of train.csv) has `new` in the place of the first `old` after its path."""

    def edit(text: str) -> str:
        header, row, rest = text.split("\n", 2)
        path, cells = row.split(",", 1)
        assert old in cells
        return "\n".join([header, f"{path},{cells.replace(old, new, 1)}", rest])

    return table(edit)


def with_column(name: str) -> Callable:
    """A case whose train.csv has one more column, blank in each row."""
    return table(lambda text: text.replace("\n", ",\n").replace(",\n", f",{name}\n", 1))


def path_of_first_row(path: str) -> Callable:
    return table(lambda text: text.replace(f"release/{FIRST}", path, 1))


def image(damage: Callable[[Path], None]) -> Callable:
    """A case whose first image is damaged; packing must refuse it."""

    def make(root: Path) -> Callable[[], object]:
        make_data(root)
        damage(root / FIRST)
        return lambda: pack_of(root)

    return make


def link_outside(path: Path) -> None:
    outside = path.parents[4] / "outside.jpg"
    path.rename(outside)
    path.symlink_to(outside)


def folder_link_outside(path: Path) -> None:
    outside = path.parents[4] / "outside"
    path.parent.rename(outside)
    path.parent.symlink_to(outside, target_is_directory=True)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path, format="PNG")


def large(path: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(path, format="PNG")


def twenty_five_bad_images(root: Path) -> Callable[[], object]:
    make_data(root)
    for patient in range(25):
        (root / image_path(patient)).write_bytes(b"")
    return lambda: pack_of(root)


def no_root(root: Path) -> Callable[[], object]:
    return lambda: inventory_of(root / "nowhere")


def no_table(root: Path) -> Callable[[], object]:
    return lambda: inventory_of(root)


def same_patient_twice(root: Path) -> Callable[[], object]:
    make_data(root)
    with (root / "valid.csv").open("a", encoding="utf-8") as file:
        file.write(f"release/{image_path(3, table='valid')},Male,40,Frontal,PA{',' * 14}\n")
    return lambda: inventory_of(root)


def no_images_left(root: Path) -> Callable[[], object]:
    make_data(root, train=3, valid=0)
    for patient in range(3):
        (root / image_path(patient)).unlink()
    return lambda: pack_of(root, bad_images="drop")


def too_few_patients(root: Path) -> Callable[[], object]:
    make_data(root, train=1)
    return lambda: prepare_of(root)


def no_lateral(root: Path) -> Callable[[], object]:
    make_data(root)
    return lambda: prepare_of(root, views="lateral")


def pack_of_other_tables(root: Path) -> Callable[[], object]:
    make_data(root)
    prepare_of(root)
    text = (root / "train.csv").read_text(encoding="utf-8")
    (root / "train.csv").write_text("".join(text.splitlines(keepends=True)[:-1]), encoding="utf-8", newline="\n")

    def prepare_again() -> None:
        prepare(
            root,
            root / ".packed",
            root / ".prepared",
            views="all",
            uncertain=dict.fromkeys(KEYS, "ignore"),
            blank="negative",
            split_seed=1,
            max_patients=None,
            shares={"val": 0.2, "stack": 0.2, "test": 0.2},
        )

    return prepare_again


def unwritable_cache(root: Path) -> Callable[[], object]:
    make_data(root)
    (root / "file").write_bytes(b"")
    return lambda: take_inventory(root, cache=root / "file" / "cache")


def without_column(text: str, column: str) -> str:
    rows = [line.split(",") for line in text.splitlines()]
    at = rows[0].index(column)
    return "".join(",".join(row[:at] + row[at + 1 :]) + "\n" for row in rows)


def two_bad_tables(root: Path) -> Callable[[], object]:
    make_data(root)
    for name in ("train.csv", "valid.csv"):
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_text(text.replace(",50,", ",old,", 1), encoding="utf-8", newline="\n")
    return lambda: inventory_of(root)


TABLES = [
    BadInput(
        "no data.root",
        no_root,
        f"{{root}}{os.sep}nowhere: no such folder (set data.root in params.yaml to the folder that holds train.csv)",
    ),
    BadInput(
        "no train.csv",
        no_table,
        f"{{root}}{os.sep}train.csv: no such file (set data.root in params.yaml to the folder that holds it)",
    ),
    BadInput(
        "a table of zero bytes",
        table(lambda text: ""),
        f"train.csv, line 1: is empty: the header with CheXpert's columns must be there {MEND_TABLE}",
    ),
    BadInput(
        "a header without rows",
        table(lambda text: text.split("\n")[0] + "\n"),
        f"train.csv: holds no rows, only a header {MEND_TABLE}",
    ),
    BadInput(
        "an empty valid.csv",
        table(lambda text: text.split("\n")[0] + "\n", "valid.csv"),
        f"valid.csv: holds no rows, only a header {MEND_TABLE}",
    ),
    BadInput(
        "a missing label column",
        table(lambda text: without_column(text, "Edema")),
        f"train.csv, line 1: column 'Edema' is missing {MEND_TABLE}",
    ),
    BadInput(
        "an extra label column",
        with_column("Hernia"),
        f"train.csv, line 1: unknown column 'Hernia': CheXpert has none of that name {MEND_TABLE}",
    ),
    BadInput(
        "a misspelt label column",
        table(lambda text: text.replace("Pleural Effusion", "Pleural Efusion", 1)),
        "tables in {root}: 2 problems " + MEND_TABLE + "\n"
        "  train.csv, line 1: column 'Pleural Effusion' is missing\n"
        "  train.csv, line 1: unknown column 'Pleural Efusion': is it 'Pleural Effusion'?",
    ),
    BadInput(
        "a column twice",
        with_column("Edema"),
        f"train.csv, line 1: column 'Edema' is there twice {MEND_TABLE}",
    ),
    BadInput(
        "a label of 2",
        first_row(",1.0,", ",2,"),
        f"train.csv, line 2: Edema is '2': must be 1, 0, -1 or blank {MEND_TABLE}",
    ),
    BadInput(
        "a label in words",
        first_row(",1.0,", ",yes,"),
        f"train.csv, line 2: Edema is 'yes': must be 1, 0, -1 or blank {MEND_TABLE}",
    ),
    BadInput(
        "a label of nan",
        first_row(",1.0,", ",nan,"),
        f"train.csv, line 2: Edema is 'nan': must be 1, 0, -1 or blank {MEND_TABLE}",
    ),
    BadInput(
        "an age of 500",
        first_row(",50,", ",500,"),
        f"train.csv, line 2: Age is '500': must be whole years from 0 to 120, Unknown or blank {MEND_TABLE}",
    ),
    BadInput(
        "a sex that is none",
        first_row("Female", "3"),
        f"train.csv, line 2: Sex is '3': must be female, male, unknown or blank {MEND_TABLE}",
    ),
    BadInput(
        "a view that is none",
        first_row("Frontal", "Side"),
        f"train.csv, line 2: Frontal/Lateral is 'Side': must be Frontal or Lateral {MEND_TABLE}",
    ),
    BadInput(
        "a projection that is none",
        first_row(",AP,", ",XX,"),
        f"train.csv, line 2: AP/PA is 'XX': must be AP, PA, LL, RL or blank {MEND_TABLE}",
    ),
    BadInput(
        "a row with a value too few",
        first_row(",50,", ","),
        f"train.csv, line 2: has 18 values where the header has 19 columns {MEND_TABLE}",
    ),
    BadInput(
        "a quote that is never closed",
        first_row(",50,", ',"50,'),
        f"train.csv, line 41: unexpected end of data: mend the quotes there {MEND_TABLE}",
    ),
    BadInput(
        "an absolute path",
        path_of_first_row(f"/release/{FIRST}"),
        f"train.csv, line 2: Path is '/release/{FIRST}': "
        f"is absolute; it must be release/.../patient/study/image {MEND_TABLE}",
    ),
    BadInput(
        "a path with a drive letter",
        path_of_first_row(WINDOWS_PATH),
        f"train.csv, line 2: Path is {WINDOWS_PATH!r}: "
        f"is absolute; it must be release/.../patient/study/image {MEND_TABLE}",
    ),
    BadInput(
        "a path that climbs out",
        path_of_first_row(f"release/../../{FIRST}"),
        f"train.csv, line 2: Path is 'release/../../{FIRST}': leaves data.root by '..' {MEND_TABLE}",
    ),
    BadInput(
        "a path without patient and study",
        path_of_first_row("release/image.jpg"),
        f"train.csv, line 2: Path is 'release/image.jpg': must be release/.../patient/study/image {MEND_TABLE}",
    ),
    BadInput(
        "a blank path",
        path_of_first_row(""),
        f"train.csv, line 2: Path is '': must name an image {MEND_TABLE}",
    ),
    BadInput(
        "a row twice",
        table(lambda text: text + text.split("\n")[1] + "\n"),
        f"train.csv, line 42: Path '{FIRST}' is on line 2 too {MEND_TABLE}",
    ),
    BadInput(
        "one patient in both tables",
        same_patient_twice,
        f"patient patient00003 is in train.csv (line 5) and in valid.csv (line 8) {MEND_TABLE}",
    ),
    BadInput(
        "a table in Latin-1",
        table(lambda text: text.replace("Female", "Müller", 1), encoding="latin-1"),
        f"train.csv, line 2: byte 0xfc is not UTF-8: save the table as UTF-8 {MEND_TABLE}",
    ),
    BadInput(
        "a table in UTF-16",
        table(lambda text: text, encoding="utf-16"),
        f"train.csv, line 1: byte 0xff is not UTF-8: save the table as UTF-8 {MEND_TABLE}",
    ),
    BadInput(
        "a table in UTF-16 without its mark",
        table(lambda text: text, encoding="utf-16-le"),
        f"train.csv, line 1: holds zero bytes, as UTF-16 text does: save the table as UTF-8 {MEND_TABLE}",
    ),
    BadInput(
        "problems in both tables",
        two_bad_tables,
        f"tables in {{root}}: 2 problems {MEND_TABLE}\n"
        "  train.csv, line 2: Age is 'old': must be whole years from 0 to 120, Unknown or blank\n"
        "  valid.csv, line 2: Age is 'old': must be whole years from 0 to 120, Unknown or blank",
    ),
    BadInput(
        "a hash cache that cannot be written",
        unwritable_cache,
        f"{{root}}{os.sep}file{os.sep}cache{os.sep}hashes.sqlite: the cache of hashes cannot be opened there "
        "(set the environment variable DIAGXNET_CACHE to a folder that you can write)",
    ),
]

IMAGES = [
    BadInput("a missing image", image(Path.unlink), f"train.csv, line 2: {FIRST} is missing {MEND_IMAGE}"),
    BadInput(
        "an empty image",
        image(lambda path: path.write_bytes(b"")),
        f"train.csv, line 2: {FIRST} is empty {MEND_IMAGE}",
    ),
    BadInput(
        "a truncated image",
        image(truncate),
        f"train.csv, line 2: {FIRST} is truncated or damaged {MEND_IMAGE}",
    ),
    BadInput(
        "a text file as image",
        image(lambda path: path.write_text("no image", encoding="utf-8")),
        f"train.csv, line 2: {FIRST} is no image (JPEG, PNG, BMP, TIFF) {MEND_IMAGE}",
    ),
    BadInput(
        "a decompression bomb",
        image(bomb),
        f"train.csv, line 2: {FIRST} has more than 80,000,000 pixels {MEND_IMAGE}",
    ),
    BadInput(
        "an image of absurd dimensions",
        image(large),
        f"train.csv, line 2: {FIRST} has 9,000 x 9,000 pixels, more than 80,000,000 {MEND_IMAGE}",
    ),
    BadInput(
        "a link that leaves data.root",
        image(link_outside),
        f"train.csv, line 2: {FIRST} is a link to a file outside data.root {MEND_IMAGE}",
        needs_links=True,
    ),
    BadInput(
        "a folder that is a link out of data.root",
        image(folder_link_outside),
        f"train.csv, line 2: {FIRST} is a link to a file outside data.root {MEND_IMAGE}",
        needs_links=True,
    ),
    BadInput(
        "a folder in an image's place",
        image(lambda path: (path.unlink(), path.mkdir())),
        f"train.csv, line 2: {FIRST} is a folder {MEND_IMAGE}",
    ),
    BadInput(
        "twenty-five bad images",
        twenty_five_bad_images,
        f"images in {{root}}: 25 problems {MEND_IMAGE}\n"
        + "".join(f"  train.csv, line {n + 2}: {image_path(n)} is empty\n" for n in range(20))
        + "  ... and 5 more",
    ),
    BadInput(
        "no usable image",
        no_images_left,
        "{root}: none of 3 images can be used (see whether data.root is right)",
    ),
]

SPLITS = [
    BadInput(
        "too few patients for the splits",
        too_few_patients,
        "no image in val, stack: train 1, val 0, stack 0, test 6 images with data.views: all and data.max_patients: "
        "null (use more patients, other views, or another data.split_seed)",
    ),
    BadInput(
        "no image of the chosen view",
        no_lateral,
        "no image in train, val, stack, test: train 0, val 0, stack 0, test 0 images with data.views: lateral and "
        "data.max_patients: null (use more patients, other views, or another data.split_seed)",
    ),
    BadInput(
        "packed images of other tables",
        pack_of_other_tables,
        f"{{root}}{os.sep}.packed: packed from other tables than those under data.root (run: dvc repro)",
    ),
]

CASES = [*TABLES, *IMAGES, *SPLITS]
