"""External validation, measured: `python -m benchmarks.external COMMAND`.

scale --folder F --images 10000 100000    cost per image and peak memory of scoring so many tiny images
hospitals --folder F --data D --models M  two hospitals: drawn with another seed, and with another exposure besides

`scale` runs each size in a process of its own, on an ensemble of the smallest networks with random weights, so that
what is measured is everything but the networks. `hospitals` draws a data set with another seed than the demo's,
exposes a copy of it differently (gamma, contrast, noise), and measures what the ensemble in M, trained in D, loses on
each.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_json, write_text
from diagxnet.demo.draw import COLUMNS, draw_demo
from diagxnet.ensemble.calibration import FindingCalibration, write_calibration
from diagxnet.external.validation import validate, write_external
from diagxnet.reporting.section import Material
from diagxnet.stacking.learners import create_meta
from diagxnet.statistics.scored import COMBINED
from diagxnet.statistics.scoring import Scoring
from diagxnet.trained_on import FILE, TrainedOn, write_trained_on
from diagxnet.training.checkpoint import save_model
from diagxnet.training.networks import base_config, from_config
from stages.running import peak_memory

SIDE = 32
NETWORKS = {"densenet": ("test_resnet", False), "vit": ("test_vit", True)}
DISTINCT = 256
SEED, GAMMA, CONTRAST, NOISE = 8, 0.55, 0.7, 0.04
SETTINGS = {"views": "frontal", "blank": "negative", "bad_images": "stop"}
OWN = {"epoch": 1, "train_loss": 0.7, "val_loss": 0.7, "val_auroc": 0.5, "lr": 1e-3}


def scoring(bootstrap: int) -> Scoring:
    return Scoring("image", bootstrap, min_positives=10, seed=42)


def make_tiny_models(folder: Path) -> None:
    """An ensemble of the smallest networks with random weights, trained on nothing."""
    history = {"best_epoch": 1, "epochs_run": 1, "stopped_early": False, "train_images": 0, "epochs": [OWN]}
    for name, (arch, batch_norm) in NETWORKS.items():
        options = {"patch_size": None, "stem": "patches", "dropout": 0.0, "pretrained": False}
        config = base_config(arch, findings=CHEXPERT.names, image_size=SIDE, batch_norm=batch_norm, **options)
        save_model(folder / name, from_config(config), config, history)
    options = {"hidden_dim": 16, "dropout": 0.0, "init": "average", "inputs": "logits"}
    config = {
        "arch": "mlp",
        "options": options,
        "members": 1,
        "models": list(NETWORKS),
        "findings": list(CHEXPERT.names),
    }
    save_model(folder / "meta", create_meta("mlp", len(NETWORKS), len(CHEXPERT), **options), config, history)
    fitted = FindingCalibration(1.0, 0.0, "platt", 10, 10, {"youden": 0.5, "specificity_90": 0.6})
    calibration = {model: dict.fromkeys(CHEXPERT.keys, fitted) for model in (*NETWORKS, *COMBINED)}
    write_calibration(folder / "calibration.json", calibration, "image", next(iter(NETWORKS)))
    nothing = TrainedOn(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, 16), np.uint8))
    write_trained_on(folder / FILE, nothing)


def make_tiny_images(folder: Path, images: int) -> None:
    """A table of so many rows, two to a patient, each with a file of its own (of few different contents)."""
    generator = np.random.default_rng(0)
    contents = []
    for _ in range(DISTINCT):
        sample = folder / "sample.jpg"
        sample.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (SIDE + 8, SIDE), np.uint8)).save(sample)
        contents.append(sample.read_bytes())
    labels = generator.choice(["1.0", "0.0", "-1.0", ""], (images, len(CHEXPERT)), p=[0.15, 0.15, 0.05, 0.65])
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in range(images):
            patient = row // 2
            path = folder / f"train/patient{patient:05d}/study1/view{row % 2 + 1}_frontal.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[row % DISTINCT])
            place = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            sex, projection = ("Male", "Female")[patient % 2], ("AP", "PA")[row % 2]
            writer.writerow((place, sex, 20 + patient % 70, "Frontal", projection, *labels[row]))


def scale_step(folder: Path, bootstrap: int) -> dict[str, float]:
    """Scores `folder`/data once: seconds of the whole, of the processor, and peak memory of this process."""
    started, spent = time.perf_counter(), time.process_time()
    found = validate(folder / "data", folder / "models", scoring(bootstrap), **SETTINGS)
    write_external(found, folder / "out.json", folder / "page")
    seconds = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - spent}
    return seconds | {"images": found.results.evaluation["counts"]["units"]} | peak_memory()


def scale(folder: Path, sizes: list[int], bootstrap: int) -> None:
    print("| images | wall s | CPU s | CPU ms an image | peak MiB |\n|---:|---:|---:|---:|---:|")
    for images in sizes:
        place = folder / f"scale{images}"
        if not (place / "data/train.csv").exists():
            make_tiny_images(place / "data", images)
        make_tiny_models(place / "models")
        command = [sys.executable, "-m", "benchmarks.external", "scale-step", "--folder", str(place)]
        done = subprocess.run(
            [*command, "--bootstrap", str(bootstrap)], stdout=subprocess.PIPE, check=True, encoding="utf-8"
        )
        own = json.loads(done.stdout.splitlines()[-1])
        each = 1000 * own["cpu_seconds"] / images
        cells = (f"{own[name]:,.0f}" for name in ("seconds", "cpu_seconds"))
        print(f"| {images:,} | {' | '.join(cells)} | {each:.2f} | {own['peak_memory_mib']:,.0f} |", flush=True)


def expose(film: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A film [height, width] uint8 as another detector would show it: brighter, flatter, noisier."""
    level = (film / 255.0) ** GAMMA * CONTRAST + (1 - CONTRAST) / 2
    return np.rint(255 * np.clip(level + generator.normal(0, NOISE, film.shape), 0, 1)).astype(np.uint8)


def expose_all(source: Path, target: Path) -> None:
    """The data set in `source` with every image exposed otherwise."""
    generator = np.random.default_rng(SEED)
    for name in ("train.csv", "valid.csv"):
        table = (source / name).read_text(encoding="utf-8")
        write_text(target / name, table.replace(f"{source.name}/", f"{target.name}/"))
    for path in sorted(source.rglob("*.jpg")):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(expose(np.asarray(Image.open(path)), generator)).save(place, quality=90)


def hospitals(folder: Path, data: Path, models: Path, images: int, bootstrap: int) -> None:
    seed, exposure = folder / "other_seed", folder / "other_exposure"
    if not seed.exists():
        draw_demo(seed, images=2, test_images=images, seed=SEED, size=320)
    shutil.rmtree(exposure, ignore_errors=True)
    expose_all(seed, exposure)
    print("| hospital | ensemble's | own test | there | difference (95% interval) |\n|---|---|---:|---:|---:|")
    for root in (seed, exposure):
        # valid.csv, as the own test set: train.csv's labels are another labeller's
        found = validate(root, models, scoring(bootstrap), data=data, tables="valid", allow_patients=True, **SETTINGS)
        print_drop(root.name, found)
        write_json(folder / f"{root.name}.json", found.results.evaluation)


def print_drop(name: str, found: Material) -> None:
    lost = found.results.evaluation["external"]["gap"]
    for metric, means in lost["ensemble"].items():
        own = means["macro"]
        interval = f"{own['difference']:+.3f} ({own['ci']['lower']:+.3f} to {own['ci']['upper']:+.3f})"
        print(f"| {name} | {metric} | {own['own']:.3f} | {own['foreign']:.3f} | {interval} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.external", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("scale", "scale-step", "hospitals"))
    parser.add_argument("--folder", type=Path, required=True, help="working folder, kept")
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000], help="hospitals: the first counts")
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    given = parser.parse_args()
    if given.command == "scale":
        scale(given.folder, given.images, given.bootstrap)
    elif given.command == "scale-step":
        print(json.dumps(scale_step(given.folder, given.bootstrap)))
    else:
        hospitals(given.folder, given.data, given.models, given.images[0], given.bootstrap)


if __name__ == "__main__":
    main()
