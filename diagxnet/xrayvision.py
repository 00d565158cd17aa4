"""Scores images with a model of torchxrayvision, as a table that `diagxnet.tables` and params.yaml's `tables` take.

    python -m diagxnet.xrayvision FOLDER --weights densenet121-res224-all --csv xrv.csv

torchxrayvision (Cohen et al., MIDL 2022, arXiv:2111.00595) is no dependency of this project: install it beside, with
its weights, which it fetches at first use. For research only: not a medical device.
"""

import argparse
import csv
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diagxnet.console.commands import run_command
from diagxnet.console.errors import InputError, one_line
from diagxnet.console.progress import Progress
from diagxnet.data.files import replacing
from diagxnet.images.decode import ImageError, whole_square
from diagxnet.prediction.inputs import Item, list_inputs

WEIGHTS = "densenet121-res224-all"
BATCH_SIZE = 16
RENAMED = {"Effusion": "Pleural Effusion"}
"""Their names of findings that CheXpert calls otherwise."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: all images are scored; 1: some are not, or the input is bad; 2: the command line is."""
    options = argparse.ArgumentParser(prog="python -m diagxnet.xrayvision", description=__doc__.splitlines()[0])
    options.add_argument("paths", nargs="+", metavar="PATH", help="image, folder or table (.csv)")
    options.add_argument("--weights", default=WEIGHTS, help=f"of torchxrayvision (default: {WEIGHTS})")
    options.add_argument("--csv", type=Path, required=True, metavar="FILE", help="the table: a row an image")
    given = options.parse_args(arguments)
    return run_command("xrayvision", lambda: score(given.paths, given.weights, given.csv))


def score(paths: list[str], weights: str, file: Path) -> int:
    """Writes the table of the images that `paths` name to `file`; returns the exit status."""
    items, _ = list_inputs(paths)
    model, size = load(weights)
    columns = [(place, name) for place, name in enumerate(model.pathologies) if name]
    failed = 0
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as written:
        table = csv.writer(written, lineterminator="\n")
        table.writerow(["Path", *(RENAMED.get(name, name) for _, name in columns)])
        with Progress(len(items), "xrayvision", shown=len(items) > 1) as progress:
            for start in range(0, len(items), BATCH_SIZE):
                batch = items[start : start + BATCH_SIZE]
                good, images = _read(batch, size)
                failed += len(batch) - len(good)
                for item, scores in zip(good, _scores(model, images), strict=True):
                    cells = (f"{scores[place]:.6g}" for place, _ in columns)
                    table.writerow([item.path.as_posix(), *cells])
                progress.update(len(batch))
    print(f"xrayvision: {file}: {len(items) - failed:,} images, {len(columns)} findings", file=sys.stderr)
    return 1 if failed else 0


def load(weights: str) -> tuple[Any, int]:
    """The model of these `weights`, in evaluation mode, and the side in pixels of its images.

    Raises InputError where torchxrayvision is not installed, or gives no such model.
    """
    try:
        package = importlib.import_module("torchxrayvision")
    except ImportError:
        raise InputError("torchxrayvision is not installed (python -m pip install torchxrayvision)") from None
    size = re.search(r"-res([0-9]+)-", weights)
    try:
        model = package.models.get_model(weights)
    except Exception as error:  # it raises Exception itself, and whatever a download does
        raise InputError(
            f"--weights {weights}: torchxrayvision has no such model here: {one_line(error)} (see its model zoo)"
        ) from None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model.eval().to(device), int(size[1]) if size else 224


def _read(batch: list[Item], size: int) -> tuple[list[Item], np.ndarray]:
    """Those of `batch` that can be read, and [images, 1, size, size] float32 from -1024 to 1024; a line on others."""
    good, images = [], []
    for item in batch:
        try:
            if item.problem is not None:
                raise ImageError(item.problem)
            images.append(whole_square(item.path, size, item.root))
            good.append(item)
        except ImageError as error:
            print(f"xrayvision: {item.shown}: {error}", file=sys.stderr)
    grey = np.stack(images) if images else np.zeros((0, size, size), np.uint8)
    return good, (2 * (grey[:, None].astype(np.float32) / 255) - 1) * 1024


def _scores(model: Any, images: np.ndarray) -> np.ndarray:
    """[images, pathologies] of the model; of none, none."""
    if not len(images):
        return np.zeros((0, len(model.pathologies)))
    device = next(model.parameters()).device
    with torch.inference_mode():
        return model(torch.from_numpy(images).to(device)).cpu().numpy()


if __name__ == "__main__":
    sys.exit(main())
