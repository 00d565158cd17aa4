"""The one table of bad input: how each case is made, what must refuse it, and the message that the user reads.

A case's `make(folder)` makes the bad input below the empty `folder` and returns the call that must raise InputError;
in `message`, {root} stands for `folder`.
"""

import gzip
import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, PngImagePlugin

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_json, write_json
from diagxnet.data.findings import Findings
from diagxnet.ensemble.local import read_local
from diagxnet.images.pack import pack
from diagxnet.labels.prepare import prepare
from diagxnet.params.checked import read_yaml
from diagxnet.params.whole import SECTIONS, read_all
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns
from diagxnet.reading.inventory import take_inventory, write_inventory
from diagxnet.reading.paths import NAMED_LIKE
from diagxnet.reading.tables import NAME_THE_PATIENT
from diagxnet.recipe import check_recipe, flags, read_recipe
from diagxnet.stacking.learners import create_meta, load_meta
from diagxnet.training.checkpoint import save_model
from diagxnet.training.networks import base_config, create_base, from_config, load_base
from diagxnet.training.pretrained import PICKLED
from tests.conftest import ROOT
from tests.radiographs import Row, image_path, make_data, write_image, write_table
from tests.releases import BATCHES, make_batches, make_test_set

MEND_TABLE = "(mend the table, or take those rows out)"
NOT_LABELLED = "if nobody labelled it, add it blank (in a training, it may also go from data.findings)"
MEND_IMAGE = "(mend these images or take their rows out, or set data.bad_images to drop)"
FIRST = image_path(0)
WINDOWS_PATH = f"C:\\release\\{FIRST}"
SHARE_PATH = f"\\\\server\\{FIRST}"
META = {"arch": "mlp", "options": {"hidden_dim": 8}, "models": ["densenet", "vit"], "members": 1}
META["findings"] = list(CHEXPERT.names)
BASE = base_config(
    "vit_tiny_patch16_224",
    findings=CHEXPERT.names,
    image_size=32,
    pretrained=False,
    dropout=0.0,
    patch_size=16,
    stem="patches",
    batch_norm=False,
)


@dataclass(frozen=True)
class BadInput:
    """A case of bad input; `needs_links`: it can be made only where the platform lets a user make symbolic links."""

    name: str
    make: Callable[[Path], Callable[[], object]]
    message: str
    needs_links: bool = False


def inventory_of(root: Path, columns: Columns = CHEXPERT_COLUMNS, test: str | None = None) -> dict:
    return take_inventory(root, cache=root / ".cache", columns=columns, test=test)


def inventory_file(root: Path, folder: Path | None = None, **options: object) -> Path:
    """The inventory of `root`, written into `folder` (default: `root`)."""
    folder = folder or root
    inventory = take_inventory(root, cache=folder / ".cache", **options)
    write_inventory(folder / ".inventory.json", inventory)
    return folder / ".inventory.json"


def pack_of(root: Path, folder: Path | None = None, columns: Columns = CHEXPERT_COLUMNS, **changes: object) -> dict:
    """Packs `root` into `folder`/.packed (default: `root`/.packed)."""
    folder = folder or root
    arguments = {"size": 32, "bad_images": "stop", "work": folder / ".work", "workers": 1} | changes
    read = {key: arguments[key] for key in ("test", "linked") if key in arguments}
    inventory = inventory_file(root, folder, columns=columns, **read)
    return pack(root, inventory, folder / ".packed", **arguments)


def prepare_of(root: Path, **changes: object) -> dict:
    own = {key: changes[key] for key in ("columns", "test") if key in changes}
    linked = {"linked": changes.pop("linked")} if "linked" in changes else {}
    pack_of(root, bad_images="drop", **own, **linked)
    arguments = {
        "views": "all",
        "uncertain": dict.fromkeys(CHEXPERT.keys, "ignore"),
        "blank": "negative",
        "split_seed": 1,
        "max_patients": None,
        "shares": {"val": 0.2, "stack": 0.2, "test": 0.2},
    }
    return prepare(root, root / ".packed", root / ".prepared", **arguments | changes)


def table(
    edit: Callable[[str], str], name: str = "train.csv", encoding: str = "utf-8", columns: Columns = CHEXPERT_COLUMNS
) -> Callable:
    """A case whose table `name` is edited; taking the inventory must refuse it."""

    def make(root: Path) -> Callable[[], object]:
        make_data(root)
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_bytes(edit(text).encode(encoding))
        return lambda: inventory_of(root, columns)

    return make


def first_row(old: str, new: str) -> Callable:
    """A case whose first row (line 2 of train.csv) has `new` in the place of the first `old` after its path."""

    def edit(text: str) -> str:
        header, row, rest = text.split("\n", 2)
        path, cells = row.split(",", 1)
        assert old in cells
        return "\n".join([header, f"{path},{cells.replace(old, new, 1)}", rest])

    return table(edit)


def with_column(name: str, columns: Columns = CHEXPERT_COLUMNS) -> Callable:
    """A case whose train.csv has one more column, blank in each row."""
    return table(lambda text: text.replace("\n", ",\n").replace(",\n", f",{name}\n", 1), columns=columns)


def no_view(root: Path) -> Callable[[], object]:
    """Flat files whose names say nothing, in a table without the column."""
    header = ["Path", "PID", *CHEXPERT.names]
    rows = [[f"{number}.png", str(number), *["1"] * len(CHEXPERT)] for number in range(3)]
    (root / "train.csv").write_text("\n".join(map(",".join, [header, *rows])), encoding="utf-8")
    return lambda: inventory_of(root, Columns(patient="PID"))


def twice_there(root: Path) -> Callable[[], object]:
    make_data(root)
    (root / "train.csv.gz").write_bytes(gzip.compress((root / "train.csv").read_bytes()))
    return lambda: inventory_of(root)


def cut_archive(root: Path) -> Callable[[], object]:
    make_data(root)
    content = gzip.compress((root / "train.csv").read_bytes())
    (root / "train.csv").unlink()
    (root / "train.csv.gz").write_bytes(content[:-40])
    return lambda: inventory_of(root)


def patients_column(first: list[str], study: str | None = None) -> Callable:
    """A case whose tables have a column PID of other patients in each row, but for the `first` rows of train.csv."""

    def make(root: Path) -> Callable[[], object]:
        make_data(root)
        for name in ("train.csv", "valid.csv"):
            header, *rows = (root / name).read_text(encoding="utf-8").splitlines()
            cells = [f"{name[0]}{number}" for number in range(len(rows))]
            if name == "train.csv":
                cells[: len(first)] = first
            lines = [f"{header},PID", *(f"{row},{cell}" for row, cell in zip(rows, cells, strict=True))]
            (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return lambda: inventory_of(root, Columns("PID", study))

    return make


def parted_patient(root: Path) -> Callable[[], object]:
    refuses = patients_column(["0", "1"])(root)
    text = (root / "train.csv").read_text(encoding="utf-8")
    (root / "train.csv").write_text(text.replace(image_path(1), image_path(0, study=2)), encoding="utf-8")
    return refuses


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


def images_elsewhere(root: Path) -> Callable[[], object]:
    make_data(root)
    (root / "train").rename(f"{root}-disk")
    (root / "train").symlink_to(f"{root}-disk", target_is_directory=True)
    return lambda: inventory_of(root)


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


def image_in_two_batches(root: Path) -> Callable[[], object]:
    make_batches(root, patients=4)
    shutil.copytree(root / BATCHES[1] / "patient00001", root / BATCHES[2] / "patient00001")
    return lambda: inventory_of(root)


def tables_in_two_batches(root: Path) -> Callable[[], object]:
    make_batches(root, patients=4)
    shutil.copy(root / BATCHES[0] / "train.csv", root / BATCHES[1] / "train.csv")
    return lambda: inventory_of(root)


def own_test_set(damage: Callable[[Path], None], by_study: bool = True) -> Callable:
    """A case in whose test set, `root`/own with a table of its own, something is damaged."""

    def make(root: Path) -> Callable[[], object]:
        make_data(root)
        table = make_test_set(root / "own", by_study)
        damage(table)
        return lambda: inventory_of(root, test=f"own/{table.name}")

    return make


def a_patient_of_valid(table: Path) -> None:
    text = table.read_text(encoding="utf-8").splitlines()
    text[1] = text[1].replace("test/patient64741/study1/view1_frontal.jpg", image_path(90_002, 2, table="valid"))
    table.write_text("\n".join(text), encoding="utf-8")


def unnamed_views(table: Path) -> None:
    study = table.parent / "test/patient64741/study1"
    (study / "view1_frontal.jpg").rename(study / "view1.jpg")


def one_image_in_two_tables(root: Path) -> Callable[[], object]:
    columns = Columns(patient="Age", age=None)
    write_table(root / "train.csv", [Row("film1.jpg", age="50"), Row("film2.jpg", age="51")])
    write_table(root / "own/table.csv", [Row("film2.jpg", age="52")])
    for place in ("film1.jpg", "film2.jpg", "own/film2.jpg"):
        write_image(root / place)
    return lambda: inventory_of(root, columns, "own/table.csv")


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
            uncertain=dict.fromkeys(CHEXPERT.keys, "ignore"),
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


PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")


def local(content: object, finding: str = "Edema") -> Callable:
    """A case of a calibration that holds `content` and is to be used for models of `finding`."""

    def make(root: Path) -> Callable[[], object]:
        (root / "c.json").write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        model(lambda folder: None)(root)
        return lambda: read_local(root / "c.json", root, (), Findings((finding,)))

    return make


MEND_PARAMS = "(mend params.yaml or the -S that set it)"


def params(edit: Callable[[str], str], encoding: str = "utf-8") -> Callable:
    """A case whose params.yaml is edited; reading all of it, as the first stage does, must refuse it."""

    def make(root: Path) -> Callable[[], object]:
        (root / "params.yaml").write_bytes(edit(PARAMS).encode(encoding))
        return lambda: read_all(root / "params.yaml")

    return make


def param(old: str, new: str) -> Callable:
    """A case whose params.yaml has `new` in the place of the first `old`."""
    assert old in PARAMS
    return params(lambda text: text.replace(old, new, 1))


def recipe(text: str, name: str = "mine") -> Callable:
    """A case whose recipes/mine.yaml is `text`; asking for the recipe `name` must be refused."""

    def make(root: Path) -> Callable[[], object]:
        (root / "recipes").mkdir()
        (root / "recipes/mine.yaml").write_text(text, encoding="utf-8")
        (root / "params.yaml").write_text(PARAMS, encoding="utf-8")

        def read() -> None:
            values = read_recipe(name, root / "recipes")
            check_recipe(values, read_yaml(root / "params.yaml"), name)
            flags(values)

        return read

    return make


class RunsCode:
    """Pickled, this makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def model(damage: Callable[[Path], None]) -> Callable:
    """A case whose trained meta-learner's folder is damaged; loading it must refuse it."""

    def make(root: Path) -> Callable[[], object]:
        folder = root / "meta"
        save_model(folder, create_meta("mlp", 2, len(CHEXPERT), **META["options"]), META, {})
        damage(folder)

        def load() -> None:
            try:
                load_meta(folder)
            finally:
                assert not (root / "ran").exists()

        return load

    return make


def base(damage: Callable[[Path], None]) -> Callable:
    """The same with a base model's folder."""

    def make(root: Path) -> Callable[[], object]:
        folder = root / "vit"
        save_model(folder, from_config(BASE), BASE, {})
        damage(folder)
        return lambda: load_base(folder)

    return make


def config(**changes: object) -> Callable[[Path], None]:
    """Damage to a model folder's config: these keys have other values, or are taken out where None."""

    def damage(folder: Path) -> None:
        content = read_json(folder / "config.json") | changes
        write_json(folder / "config.json", {key: value for key, value in content.items() if value is not None})

    return damage


def weights(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return damage


def pickled_weights(folder: Path) -> None:
    torch.save({"layers.1.weight": RunsCode(folder.parent / "ran")}, folder / "model.safetensors")


def another_models_weights(folder: Path) -> None:
    save_model(folder, create_meta("mlp", 2, len(CHEXPERT), hidden_dim=6), META, {})


def pretrained(write: Callable[[Path], None], name: str = "weights.safetensors") -> Callable:
    """A case whose file of pretrained weights is bad; making a network from it must be refused."""

    def make(root: Path) -> Callable[[], object]:
        write(root / name)
        return lambda: create_base("resnet10t", findings=14, image_size=32, pretrained=f"{root}/{name}")

    return make


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def text_bomb(path: Path) -> None:
    """A small PNG whose compressed comment is large."""
    comment = PngImagePlugin.PngInfo()
    comment.add_text("comment", "x" * 5_000_000, zip=True)
    Image.new("L", (40, 40)).save(path, format="PNG", pnginfo=comment)


def tiff_bomb(path: Path) -> None:
    Image.new("1", (30_000, 3_000)).save(path, format="TIFF", compression="group4")


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
        "an image in two batch folders",
        image_in_two_batches,
        f"{{root}}: patient00001/study1/view1_frontal.jpg is in two folders, {BATCHES[1]} and {BATCHES[2]}: which one "
        "is meant, no table says (leave one of the two)",
    ),
    BadInput(
        "tables in two batch folders",
        tables_in_two_batches,
        f"{{root}}{os.sep}{BATCHES[0]}{os.sep}train.csv: is there as {{root}}{os.sep}{BATCHES[1]}{os.sep}train.csv, "
        "too (leave the one that you mean)",
    ),
    BadInput(
        "no table of data.test",
        own_test_set(lambda table: table.unlink()),
        f"{{root}}{os.sep}own/groundtruth.csv: no such file (set data.test in params.yaml to the table of the test "
        "set, or to null)",
    ),
    BadInput(
        "a study without a folder",
        own_test_set(lambda table: shutil.rmtree(table.parent / "test/patient64742/study1")),
        "groundtruth.csv, line 3: Study is 'CheXpert-v1.0/test/patient64742/study1': no such folder with images in "
        f"{{root}}{os.sep}own or {{root}} {MEND_TABLE}",
    ),
    BadInput(
        "an image of a study that does not say its view",
        own_test_set(unnamed_views),
        "groundtruth.csv: 1 of 27 rows do not say whether an image is frontal or lateral, line 2 first: "
        "'test/patient64741/study1/view1.jpg': set data.columns.view to the column that does, or to frontal where all "
        f"images are {MEND_TABLE}",
    ),
    BadInput(
        "a patient of valid.csv in the table of data.test",
        own_test_set(a_patient_of_valid, by_study=False),
        f"patient patient90002 is in valid.csv (line 4) and in data.test (line 2) {MEND_TABLE}",
    ),
    BadInput(
        "one image in two tables",
        one_image_in_two_tables,
        f"image 'film2.jpg' is in train.csv (line 3) and in data.test (line 2) {MEND_TABLE}",
    ),
    BadInput(
        "a table of zero bytes",
        table(lambda text: ""),
        f"train.csv, line 1: is empty: the header with the columns must be there {MEND_TABLE}",
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
        f"train.csv, line 1: column 'Edema' is missing: {NOT_LABELLED} {MEND_TABLE}",
    ),
    BadInput(
        "an extra label column",
        with_column("Hernia"),
        "train.csv, line 1: unknown column 'Hernia': a finding goes into data.findings, what makes groups into "
        f"evaluate.subgroups, another into data.columns.ignored {MEND_TABLE}",
    ),
    BadInput(
        "a misspelt label column",
        table(lambda text: text.replace("Pleural Effusion", "Pleural Efusion", 1)),
        "tables in {root}: 2 problems " + MEND_TABLE + "\n"
        f"  train.csv, line 1: column 'Pleural Effusion' is missing: {NOT_LABELLED}\n"
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
        first_row(",1.0,", ",perhaps,"),
        f"train.csv, line 2: Edema is 'perhaps': must be 1, 0, -1 or blank {MEND_TABLE}",
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
        f"train.csv, line 2: Frontal/Lateral is 'Side': must be Frontal or Lateral, or AP, PA, LL, RL {MEND_TABLE}",
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
        f"train.csv, line 2: Path is '/release/{FIRST}': is absolute; it must be below data.root {MEND_TABLE}",
    ),
    BadInput(
        "a path with a drive letter",
        path_of_first_row(WINDOWS_PATH),
        f"train.csv, line 2: Path is {WINDOWS_PATH!r}: is absolute; it must be below data.root {MEND_TABLE}",
    ),
    BadInput(
        "a path that climbs out",
        path_of_first_row(f"release/../../{FIRST}"),
        f"train.csv, line 2: Path is 'release/../../{FIRST}': leaves data.root by '..' {MEND_TABLE}",
    ),
    BadInput(
        "a path without patient and study",
        path_of_first_row("release/image.jpg"),
        "train.csv: 1 of 40 rows do not say which patient it is, line 2 first: 'image.jpg' (0 folders deep); a path "
        f"tells by one name like {NAMED_LIKE} ({NAME_THE_PATIENT})",
    ),
    BadInput(
        "a flat file, which tells no patient",
        path_of_first_row("image.jpg"),
        "train.csv: 1 of 40 rows do not say which patient it is, line 2 first: 'image.jpg' (0 folders deep); a path "
        f"tells by one name like {NAMED_LIKE} ({NAME_THE_PATIENT})",
    ),
    BadInput(
        "a path that is a folder's",
        path_of_first_row("release/"),
        f"train.csv, line 2: Path is 'release/': must name an image, not a folder {MEND_TABLE}",
    ),
    BadInput(
        "folders that might be patients, studies or dates",
        table(lambda text: re.sub(r"/train/patient0+(\d+)/study1/", r"/ward\1/2020/", text)),
        "train.csv: 40 of 40 rows do not say which patient it is, line 2 first: 'ward0/2020/view1_frontal.jpg' (2 "
        "folders deep; by their place those at level 1, 2 would make 40, 1 patients, of 40 studies); a path tells by "
        f"one name like {NAMED_LIKE} ({NAME_THE_PATIENT})",
    ),
    BadInput(
        "two patients in one path",
        path_of_first_row(f"release/patient7/{FIRST}"),
        f"train.csv: 1 of 40 rows do not say which patient it is, line 2 first: 'patient7/{FIRST}' (4 folders deep; by "
        "their place those at level 1, 2, 3, 4 would make 1, 1, 1, 1 patients, of 1 studies); a path tells by one name "
        f"like {NAMED_LIKE} ({NAME_THE_PATIENT})",
    ),
    BadInput(
        "a patient's name in two ways",
        path_of_first_row("release/train/Patient000001/study1/a.jpg"),
        f"patients 'Patient000001' and 'patient00001': the same one? Write each patient in one way {MEND_TABLE}",
    ),
    BadInput(
        "a column of patients that is not named",
        with_column("PatientID"),
        "train.csv, line 1: unknown column 'PatientID': if it names the patient, set data.columns.patient to PatientID "
        f"{MEND_TABLE}",
    ),
    BadInput(
        "a named column that is not there",
        with_column("PatientID", Columns(patient="Patient_ID")),
        "tables in {root}: 3 problems " + MEND_TABLE + "\n"
        "  train.csv, line 1: column 'Patient_ID', which data.columns.patient names, is missing: is it 'PatientID'?\n"
        "  train.csv, line 1: unknown column 'PatientID': is it 'Patient_ID'?\n"
        "  valid.csv, line 1: column 'Patient_ID', which data.columns.patient names, is missing: the table has Path, "
        "Sex, Age, Frontal/Lateral, AP/PA, No Finding, Enlarged Cardiomediastinum, Cardiomegaly",
    ),
    BadInput(
        "a finding as the patient's column",
        table(str, columns=Columns(patient="Edema")),
        "tables in {root}: 2 problems " + MEND_TABLE + "\n"
        "  train.csv, line 1: data.columns.patient = 'Edema': that column is data.findings's\n"
        "  valid.csv, line 1: data.columns.patient = 'Edema': that column is data.findings's",
    ),
    BadInput(
        "a column of groups that test's table lacks",
        with_column("Race", Columns(groups=("race",))),
        f"train.csv, line 1: unknown column 'Race': is it 'race'? {MEND_TABLE}",
    ),
    BadInput(
        "a finding as a column of groups",
        table(str, columns=Columns(groups=("Edema",))),
        "tables in {root}: 2 problems " + MEND_TABLE + "\n"
        "  train.csv, line 1: evaluate.subgroups names 'Edema': that column makes no subgroups (those of sex, age and "
        "view are there)\n"
        "  valid.csv, line 1: evaluate.subgroups names 'Edema': that column makes no subgroups (those of sex, age and "
        "view are there)",
    ),
    BadInput(
        "a column of groups that no table has",
        table(str, columns=Columns(groups=("Site",))),
        "valid.csv: column 'Site', which evaluate.subgroups names, is missing (add it to the table that test is of, or "
        "do not name it)",
    ),
    BadInput(
        "rows without a patient, and one that a spreadsheet rounded",
        patients_column(["", "nan", "8.39861E+35"]),
        "tables in {root}: 3 problems " + MEND_TABLE + "\n"
        "  train.csv, line 2: PID is '': each row must name its own\n"
        "  train.csv, line 3: PID is 'nan': each row must name its own\n"
        "  train.csv, line 4: PID is '8.39861E+35': a number that a spreadsheet has rounded; take the original table",
    ),
    BadInput(
        "one column for patient and study",
        patients_column([], study="PID"),
        "tables in {root}: 2 problems "
        + MEND_TABLE
        + "\n"
        + "\n".join(
            f"  {name}.csv, line 1: data.columns.study = 'PID' is data.columns.patient, too: a study is not a patient"
            for name in ("train", "valid")
        ),
    ),
    BadInput(
        "a column that parts a patient of the paths",
        parted_patient,
        "train.csv: 1 patients of the paths have several names in the column that data.columns.patient names, "
        f"train/patient00000 first: 0, 1 ({NAME_THE_PATIENT})",
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
        "a path to a share of a network",
        path_of_first_row(SHARE_PATH),
        f"train.csv, line 2: Path is {SHARE_PATH!r}: is absolute; it must be below data.root {MEND_TABLE}",
    ),
    BadInput(
        "a path that goes to another drive",
        path_of_first_row("release/C:/patient1/study1/a.jpg"),
        "train.csv, line 2: Path is 'release/C:/patient1/study1/a.jpg': leaves data.root by a drive letter "
        + MEND_TABLE,
    ),
    BadInput(
        "a path with a character that cannot be printed",
        path_of_first_row("release/patient1/study1/view1_\x07.jpg"),
        "train.csv, line 2: Path is 'release/patient1/study1/view1_\\x07.jpg': "
        f"holds characters that cannot be printed {MEND_TABLE}",
    ),
    BadInput(
        "an age of half years",
        first_row(",50,", ",50.5,"),
        f"train.csv, line 2: Age is '50.5': must be whole years from 0 to 120, Unknown or blank {MEND_TABLE}",
    ),
    BadInput(
        "a negative age",
        first_row(",50,", ",-1,"),
        f"train.csv, line 2: Age is '-1': must be whole years from 0 to 120, Unknown or blank {MEND_TABLE}",
    ),
    BadInput(
        "an infinite age",
        first_row(",50,", ",inf,"),
        f"train.csv, line 2: Age is 'inf': must be whole years from 0 to 120, Unknown or blank {MEND_TABLE}",
    ),
    BadInput(
        "a zero byte in a value",
        first_row("Female", "Fe\0male"),
        f"train.csv, line 2: Sex is 'Fe\\x00male': must be female, male, unknown or blank {MEND_TABLE}",
    ),
    BadInput(
        "a value of 200,000 characters",
        first_row("Female", "F" * 200_000),
        f"train.csv, line 2: field larger than field limit (131072): mend the quotes there {MEND_TABLE}",
    ),
    BadInput(
        "a row with a value too many",
        first_row(",50,", ",50,50,"),
        f"train.csv, line 2: has 20 values where the header has 19 columns {MEND_TABLE}",
    ),
    BadInput(
        "a table with semicolons and decimal commas",
        table(lambda text: text.replace(",", ";").replace("1.0", "1,0", 1)),
        f"train.csv, line 2: Edema is '1,0': must be 1, 0, -1 or blank {MEND_TABLE}",
    ),
    BadInput(
        "a table of findings that are none of ours",
        table(lambda text: text, columns=Columns(findings=Findings(("Tuberculosis", "Covid")))),
        f"tables in {{root}}: 4 problems {MEND_TABLE}\n"
        + "\n".join(
            f"  {name}.csv, line 1: none of the findings is a column (Tuberculosis, Covid), as data.findings has them "
            f"or the models know them\n  {name}.csv, line 1: unknown columns {', '.join(map(repr, CHEXPERT.names))}: a "
            "finding goes into data.findings, what makes groups into evaluate.subgroups, another into "
            "data.columns.ignored"
            for name in ("train", "valid")
        ),
    ),
    BadInput(
        "columns of other names",
        table(lambda text: text.replace("Path,Sex,Age,", "file name,Gender,PatientAge,", 1), "valid.csv"),
        f"tables in {{root}}: 4 problems {MEND_TABLE}\n"
        "  valid.csv, line 1: column 'Path' is missing\n"
        "  valid.csv, line 1: unknown column 'file name': if it names the image, set data.columns.path to file name\n"
        "  valid.csv, line 1: unknown column 'Gender': if it holds the sex, set data.columns.sex to Gender\n"
        "  valid.csv, line 1: unknown column 'PatientAge': if it holds the age, set data.columns.age to PatientAge",
    ),
    BadInput(
        "a column that holds sex and age",
        table(lambda text: text, columns=Columns(age="Sex")),
        f"tables in {{root}}: 4 problems {MEND_TABLE}\n"
        + "\n".join(
            f"  {name}.csv, line 1: data.columns.age = 'Sex': that column is data.columns.sex's\n"
            f"  {name}.csv, line 1: unknown column 'Age': a finding goes into data.findings, what makes groups "
            "into evaluate.subgroups, another into "
            "data.columns.ignored"
            for name in ("train", "valid")
        ),
    ),
    BadInput(
        "a column that is ignored and read",
        table(lambda text: text, columns=Columns(ignored=("Sex",))),
        f"tables in {{root}}: 2 problems {MEND_TABLE}\n"
        "  train.csv, line 1: data.columns.sex = 'Sex': that column is data.columns.ignored's\n"
        "  valid.csv, line 1: data.columns.sex = 'Sex': that column is data.columns.ignored's",
    ),
    BadInput(
        "images whose view nobody says",
        no_view,
        "train.csv: 3 of 3 rows do not say whether an image is frontal or lateral, line 2 first: '0.png': set "
        f"data.columns.view to the column that does, or to frontal where all images are {MEND_TABLE}",
    ),
    BadInput(
        "a table packed and not",
        twice_there,
        f"{{root}}{os.sep}train.csv: is there as train.csv.gz, too (leave the one that you mean)",
    ),
    BadInput(
        "an archive that is cut off",
        cut_archive,
        f"{{root}}{os.sep}train.csv.gz: is no whole gzip archive (get it again, or give the .csv)",
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
        f"train.csv, line 2: {FIRST} is no image (JPEG, PNG, BMP, TIFF, DICOM) {MEND_IMAGE}",
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
        "all images behind a link out of data.root",
        images_elsewhere,
        f"{{root}}{os.sep}train: is a link to {{root}}-disk, outside data.root, as 40 of 40 images looked at are: none "
        "of these is read (set data.root to the real folder of tables and images, or allow links to there: "
        "data.linked={root}-disk)",
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
        "a link to itself",
        image(link_to_itself),
        f"train.csv, line 2: {FIRST} cannot be read: Too many levels of symbolic links {MEND_IMAGE}",
        needs_links=True,
    ),
    BadInput(
        "a PNG whose comment is a decompression bomb",
        image(text_bomb),
        f"train.csv, line 2: {FIRST} is truncated or damaged {MEND_IMAGE}",
    ),
    BadInput(
        "a TIFF that is a decompression bomb",
        image(tiff_bomb),
        f"train.csv, line 2: {FIRST} has 30,000 x 3,000 pixels, more than 80,000,000 {MEND_IMAGE}",
    ),
    BadInput(
        "a GIF",
        image(lambda path: Image.new("L", (40, 40)).save(path, format="GIF")),
        f"train.csv, line 2: {FIRST} is GIF, which is not read: save it as PNG {MEND_IMAGE}",
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
        f"{{root}}: none of 3 images can be used; {FIRST} is missing (see whether data.root is right)",
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

PARAMS_CASES = [
    BadInput(
        "no params.yaml",
        lambda root: lambda: read_all(root / "params.yaml"),
        "params.yaml: no such file here (run from the repository's root)",
    ),
    *(
        BadInput(
            name, params(edit), "params.yaml: holds no sections (restore the file from git: git checkout params.yaml)"
        )
        for name, edit in {"an empty params.yaml": lambda text: "", "a list as params.yaml": lambda text: "- 1"}.items()
    ),
    BadInput(
        "a params.yaml in Latin-1",
        params(lambda text: text.replace("seed: 42", "seed: 42  # Müller", 1), "latin-1"),
        "params.yaml: is not UTF-8 text (save it as UTF-8)",
    ),
    BadInput(
        "a bracket that is never closed",
        param("seed: 42", "seed: [42"),
        "params.yaml, line 7: expected ',' or ']', but got '<scalar>' (mend the YAML there)",
    ),
    BadInput(
        "a tab as indentation",
        param("  images: 1000", "\timages: 1000"),
        "params.yaml, line 10: found character '\\t' that cannot start any token (mend the YAML there)",
    ),
    BadInput(
        "a key twice",
        param("seed: 42", "seed: 42\nseed: 43"),
        "params.yaml, line 6: key 'seed' is given twice (mend the YAML there)",
    ),
    BadInput(
        "YAML that would run code",
        param("seed: 42", "seed: !!python/object/apply:os.system ['true']"),
        "params.yaml, line 6: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.system' (mend the YAML there)",
    ),
    BadInput(
        "YAML aliases that stand for more than memory holds",
        param("seed: 42", f"a: &a [{', '.join('x' * 9)}]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nseed: *b"),
        "params.yaml, line 7: aliases are not taken: write the value out (mend the YAML there)",
    ),
    BadInput(
        "an unknown section",
        param("launch: python", "lunch: python"),
        "params.yaml: 2 problems (mend params.yaml)\n"
        f"  params.yaml: lunch: unknown key; known here: {', '.join(SECTIONS)}\n"
        "  params.yaml: launch: is missing",
    ),
    BadInput(
        "a misspelt key",
        param("  hidden_dim: 256", "  hiden_dim: 256"),
        f"params.yaml: 2 problems {MEND_PARAMS}\n"
        "  params.yaml: meta.hidden_dim: is missing\n"
        "  params.yaml: meta.hiden_dim: unknown key; did you mean hidden_dim?",
    ),
    *(
        BadInput(f"{what} as {line.strip()}", param(old, line), f"params.yaml: {said} {MEND_PARAMS}")
        for what, old, line, said in (
            ("a negative number", "seed: 42", "seed: -1", "seed = -1: must be greater than or equal to 0"),
            ("a word", "  hidden_dim: 256", "  hidden_dim: wide", "meta.hidden_dim = 'wide': must be a valid integer"),
            ("a fraction", "  epochs: 20", "  epochs: 2.5", "meta.epochs = 2.5: must be a valid integer"),
            (
                "no number",
                "  label_smoothing: 0.1",
                "  label_smoothing: .nan",
                "train.label_smoothing = nan: must be a finite number",
            ),
            (
                "infinity",
                "  max_grad_norm: 1.0",
                "  max_grad_norm: .inf",
                "train.max_grad_norm = inf: must be a finite number",
            ),
            ("yes", "  image_size: 80", "  image_size: true", "data.image_size = True: must be a valid integer"),
            (
                "a number too large",
                "  image_size: 80",
                "  image_size: 80000",
                "data.image_size = 80000: must be less than or equal to 1024",
            ),
            (
                "shares above one",
                "    val: 0.2",
                "    val: 0.9",
                "data.shares = {'val': 0.9, 'stack': 0.2, 'test': 0.2}: val + stack must be below 1, so that train "
                "keeps a share; got 1.1",
            ),
            (
                "a rule that is none",
                "    edema: ones",
                "    edema: one",
                "data.uncertain.edema = 'one': must be 'ignore', 'zeros', 'ones', 'lsr_ones' or 'lsr_zeros'",
            ),
            (
                "a hierarchy that is none",
                '  hierarchy: "off"',
                "  hierarchy: tree",
                "data.hierarchy = 'tree': must be 'off', 'labels' or 'conditional'",
            ),
            (
                "a parent that is no finding",
                "  parents: {}",
                "  parents: {edema: lungs}",
                f"data.parents: lungs is no finding; known here: {', '.join(CHEXPERT.keys)}",
            ),
            (
                "parents in a circle",
                "  parents: {}",
                "  parents: {edema: fracture, fracture: edema}",
                "data.parents: edema < fracture < edema is a circle",
            ),
            ("nothing", "  lr: 1.0e-3", "  lr: null", "densenet.lr = None: must be a valid number"),
            (
                "zero",
                "  batch_size: 16",
                "  batch_size: 0",
                "train.batch_size = 0: must be greater than or equal to 1",
            ),
        )
    ),
]

RECIPES = [
    BadInput("a recipe that is none", recipe("meta.lr: 1", "yours"), "no recipe 'yours'; known: mine"),
    BadInput("a recipe's name that climbs out", recipe("seed: 1", "../params"), "no recipe '../params'; known: mine"),
    BadInput(
        "a recipe with an unknown key",
        recipe("meta:\n  width: 3\n"),
        "recipes/mine.yaml: meta.width: params.yaml has no such key",
    ),
    BadInput(
        "a recipe with a value out of range",
        recipe("meta:\n  hidden_dim: 0\n"),
        f"recipes/mine.yaml: meta.hidden_dim = 0: must be greater than or equal to 2 {MEND_PARAMS}",
    ),
    BadInput(
        "a recipe whose value holds a space",
        recipe("launch: accelerate launch\n"),
        "launch = 'accelerate launch': a recipe's value holds no space (dvc exp run -S takes none)",
    ),
    BadInput(
        "a list as recipe",
        recipe("- meta\n"),
        "mine.yaml: holds no sections (restore the file from git: git checkout mine.yaml)",
    ),
    BadInput(
        "a recipe that would run code",
        recipe("meta: !!python/name:os.system\n"),
        "mine.yaml, line 1: could not determine a constructor for the tag 'tag:yaml.org,2002:python/name:os.system' "
        "(mend the YAML there)",
    ),
]

HERE = f"{{root}}{os.sep}meta"
OTHER_FILE = "(delete it and run dvc repro)"
NO_HEADER = f"{HERE}: this is no model of ours: Error while deserializing header"
MODELS = [
    BadInput(
        "a model without weights",
        model(lambda folder: (folder / "model.safetensors").unlink()),
        f"{HERE}: no trained model here (run dvc repro)",
    ),
    BadInput(
        "a model without config",
        model(lambda folder: (folder / "config.json").unlink()),
        f"{HERE}{os.sep}config.json: no trained model here (run dvc repro)",
    ),
    BadInput(
        "a config that is no JSON",
        model(lambda folder: (folder / "config.json").write_text("arch: mlp", encoding="utf-8")),
        f"{HERE}: this is no model of ours: Expecting value: line 1 column 1 (char 0) {OTHER_FILE}",
    ),
    BadInput(
        "a list as config",
        model(lambda folder: (folder / "config.json").write_text("[1]", encoding="utf-8")),
        f"{HERE}: this is no model of ours: list indices must be integers or slices, not str {OTHER_FILE}",
    ),
    BadInput(
        "a config that is not UTF-8",
        model(lambda folder: (folder / "config.json").write_bytes(b"\xff")),
        f"{HERE}: this is no model of ours: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte "
        f"{OTHER_FILE}",
    ),
    BadInput(
        "a config without architecture",
        model(config(arch=None)),
        f"{HERE}: this is no model of ours: 'arch' {OTHER_FILE}",
    ),
    BadInput(
        "a meta-learner of an unknown architecture",
        model(config(arch="tree")),
        f"{HERE}: this is no model of ours: 'tree' {OTHER_FILE}",
    ),
    BadInput(
        "a config with an unknown option",
        model(config(options={"hidden_dim": 8, "width": 3})),
        f"{HERE}: this is no model of ours: MetaMLP.__init__() got an unexpected keyword argument 'width' {OTHER_FILE}",
    ),
    BadInput(
        "a config with a negative width",
        model(config(options={"hidden_dim": -8})),
        f"{HERE}: this is no model of ours: Trying to create tensor with negative dimension -8: [-8, 28] {OTHER_FILE}",
    ),
    BadInput(
        "weights of zero bytes", model(weights(lambda content: b"")), f"{NO_HEADER}: header too small {OTHER_FILE}"
    ),
    BadInput(
        "truncated weights",
        model(weights(lambda content: content[:-10])),
        f"{NO_HEADER}: incomplete metadata, file not fully covered {OTHER_FILE}",
    ),
    BadInput(
        "weights with more behind them",
        model(weights(lambda content: content + b"more")),
        f"{NO_HEADER}: incomplete metadata, file not fully covered {OTHER_FILE}",
    ),
    BadInput(
        "weights whose header says that it is endless",
        model(weights(lambda content: struct.pack("<Q", 2**62) + content[8:])),
        f"{NO_HEADER}: header too large {OTHER_FILE}",
    ),
    BadInput(
        "weights whose header is no JSON",
        model(weights(lambda content: content[:8] + b"x" * 20 + content[28:])),
        f"{NO_HEADER}: invalid JSON in header: expected value at line 1 column 1 {OTHER_FILE}",
    ),
    BadInput(
        "pickled weights that would run code", model(pickled_weights), f"{NO_HEADER}: header too large {OTHER_FILE}"
    ),
    BadInput(
        "weights of another model",
        model(another_models_weights),
        f"{HERE}: this is no model of ours: Error(s) in loading state_dict for MetaMLP: size mismatch for "
        "layers.1.weight: copying a param with shape torch.Size([6, 28]) from checkpoint, the shape in current model "
        f"is torch.Size([8, 28]). size m {OTHER_FILE}",
    ),
    BadInput(
        "a base model of an unknown architecture",
        base(config(arch="vit_tiny_patch99")),
        "arch = 'vit_tiny_patch99': timm knows no such model (see timm.list_models())",
    ),
    BadInput(
        "a base model whose patches do not fill its images",
        base(config(image_size=31)),
        "patch_size = 16, arch = 'vit_tiny_patch16_224': patches of 16 pixels do not fill images of 31 "
        "(data.image_size must be a multiple)",
    ),
    *(
        BadInput(
            f"a base model of {folds!r} folds",
            base(config(folds=folds)),
            f"{{root}}{os.sep}vit{os.sep}config.json: folds = {folds!r}: this is no model of ours (run dvc repro)",
        )
        for folds in (0, 1, "3")
    ),
    BadInput(
        "a base model without the folds that it names",
        base(config(folds=2)),
        f"{{root}}{os.sep}vit{os.sep}fold1{os.sep}config.json: no trained model here (run dvc repro)",
    ),
]

CHECKPOINTS = [
    BadInput(
        "a file of pretrained weights that is not there",
        lambda root: (
            lambda: create_base("resnet10t", findings=14, image_size=32, pretrained=f"{root}/gone.safetensors")
        ),
        "pretrained = '{root}/gone.safetensors': no such file (true takes the weights of arch)",
    ),
    BadInput(
        "pretrained weights with pickled objects beside them",
        pretrained(lambda path: torch.save({"weight": RunsCode(path.with_name("ran"))}, path), "weights.pth"),
        f"pretrained = '{{root}}/weights.pth': {PICKLED.format(file='{root}/weights.pth')}",
    ),
    BadInput(
        "pretrained weights that would run code",
        pretrained(lambda path: torch.save({"weight": RunsCode(path.with_name("ran"))}, path)),
        "pretrained = '{root}/weights.safetensors': these are no weights of resnet10t: Error while deserializing "
        "header: header too large",
    ),
    BadInput(
        "pretrained weights of zero bytes",
        pretrained(lambda path: path.write_bytes(b"")),
        "pretrained = '{root}/weights.safetensors': these are no weights of resnet10t: Error while deserializing "
        "header: header too small",
    ),
]

LOCAL = {"version": 2, "findings": ["edema"], "models": {}, "recalibrated": {"data": "x", "patients": 9, "models": "0"}}
NO_LOCAL = (
    "{root}/c.json: is no calibration of stages.recalibrate (make one, or leave --calibration out: the models have "
    "their own)"
)
CALIBRATIONS = [
    BadInput(
        "a calibration that is not there",
        lambda root: lambda: read_local(root / "c.json", root, (), Findings(("Edema",))),
        "{root}/c.json: No such file or directory (make it with: python -m stages.recalibrate)",
    ),
    BadInput("a calibration that is no JSON", local("x"), NO_LOCAL),
    BadInput("a calibration of a run's own", local(LOCAL | {"recalibrated": None}), NO_LOCAL),
    BadInput(
        "a calibration of other findings",
        local(LOCAL, "Fracture"),
        "{root}/c.json: of the findings edema, and the models in {root} predict fracture (run stages.recalibrate with "
        "these)",
    ),
    BadInput(
        "a calibration of other models",
        local(LOCAL),
        "{root}/c.json: fitted for other models than those in {root} (run stages.recalibrate with these)",
    ),
]

CASES = [*CALIBRATIONS, *TABLES, *IMAGES, *SPLITS, *PARAMS_CASES, *RECIPES, *MODELS, *CHECKPOINTS]
"""Here a kind of file more adds its list."""
