"""What the people of docs/start have at hand, drawn: small data at the places that the pages name."""

import csv
import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import timm
from PIL import Image
from safetensors.torch import save_file

from diagxnet.params.checked import read_yaml
from tests.dicoms import write_dicom


def a_release(folder: Path) -> None:
    """CheXpert where the page has it, and a recipe of its scale that asks for small networks without a download."""
    shutil.copytree(folder / "data/demo", folder / "data/CheXpert-v1.0-small")
    small = {"image_size": 32, "arch": "test_resnet", "pretrained": "false", "epochs": 1}
    recipe = folder / "recipes/chexpert.yaml"
    text = recipe.read_text(encoding="utf-8").replace("vit_base_patch16_224", "vit_tiny_patch16_224")
    for key, value in small.items():
        text = re.sub(rf"(?m)^  {key}: (?!vit_tiny).*$", f"  {key}: {value}", text)
    recipe.write_text(text, encoding="utf-8", newline="\n")


def films(folder: Path) -> None:
    """A folder of DICOM files as a PACS exports them, beside a PNG, what is no film, and one that is damaged."""
    place = folder.parent / "Röntgen Bilder"
    (place / "Müller 2026").mkdir(parents=True)
    for number, path in enumerate(sorted((folder / "data/demo/valid").rglob("*frontal.jpg"))[:4]):
        with Image.open(path) as image:
            if number and find_spec("pydicom") and find_spec("gdcm"):
                write_dicom(place / f"Müller 2026/IM{number:04d}", np.asarray(image).astype(np.uint16) * 16)
            else:
                image.save(place / f"Müller 2026/IM{number:04d}.png")
    (place / "Liste.txt").write_text("keine Bilder", encoding="utf-8")


def a_hospital(folder: Path) -> None:
    """Films and a table of a hospital's own, with other names for all, and weights in a file."""
    place = folder.parent / "Röntgen 2026"
    columns = {"Datei": "Path", "PID": None, "Geschlecht": "Sex", "Alter": "Age", "Stauung": "Edema"}
    columns |= {"Erguss (links)": "Pleural Effusion"}
    with (folder / "data/demo/train.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Frontal/Lateral"] == "Frontal"]
    place.mkdir()
    with (place / "train.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(columns)
        for number, row in enumerate(rows):
            name, patient = f"Bilder/{number:04d}.jpg", row["Path"].split("/")[2]
            (place / name).parent.mkdir(exist_ok=True)
            shutil.copy(folder / "data/demo" / row["Path"].split("/", 1)[1], place / name)
            table.writerow([name, patient, *(row[column] for column in list(columns.values())[2:])])
    (folder / "weights").mkdir()
    arch = read_yaml(folder / "params.yaml")["densenet"]["arch"]
    save_file(timm.create_model(arch).state_dict(), folder / "weights/densenet121.safetensors")


AT_HAND: dict[str, Callable[[Path], None]] = {
    "docs/start/chexpert.md": a_release,
    "docs/start/radiologist.md": films,
    "docs/start/own-hospital.md": a_hospital,
}
"""What makes, in a clone whose pipeline has run, what the commands of a page of docs/start want."""
