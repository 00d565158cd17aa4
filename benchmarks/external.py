"""External validation, measured: `python -m benchmarks.external COMMAND`.

scale --folder F --images 10000 100000    cost per image and peak memory of scoring so many tiny images
hospitals --folder F --data D --models M  two hospitals: drawn with another seed, and with another exposure besides
recalibrate --folder F --models M         the ensemble fitted to the second of these, and to samples of so many patients

`scale` runs each size in a process of its own, on an ensemble of the smallest networks with random weights, so that
what is measured is everything but the networks. `hospitals` draws a data set with another seed than the demo's,
exposes a copy of it differently (gamma, contrast, noise), and measures what the ensemble in M, trained in D, loses on
each. `recalibrate` prints what the stage of that name does, and for random samples of so many patients what Brier score
and ECE change by on the others: as the stage moves slopes and intercepts, where all are moved, and intercepts alone.
"""

import argparse
import csv
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_json, write_text
from diagxnet.demo.draw import COLUMNS, draw_demo
from diagxnet.ensemble.calibration import Calibration, FindingCalibration, probabilities, write_calibration
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.external import recalibration
from diagxnet.external.folder import score_folder
from diagxnet.external.validation import validate, write_external
from diagxnet.reporting.section import Material
from diagxnet.stacking.learners import create_meta
from diagxnet.statistics.metrics import brier, ece, per_finding
from diagxnet.statistics.scored import COMBINED, Scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.trained_on import FILE, TrainedOn, write_trained_on
from diagxnet.training.checkpoint import save_model
from diagxnet.training.networks import base_config, from_config
from stages.running import peak_memory

SIDE = 32
NETWORKS = {"densenet": ("test_resnet", False), "vit": ("test_vit", True)}
DISTINCT = 256
SEED, GAMMA, CONTRAST, NOISE = 8, 0.55, 0.7, 0.04
SAMPLES, REPEATS = (10, 25, 50, 100, 200), 20
RULES = {
    "as the stage does": (recalibration.INTERCEPT_ERROR, recalibration.SLOPE_ERROR),
    "all slopes": (math.inf, math.inf),
    "all intercepts": (math.inf, -1.0),
}
"""What is moved: the errors up to which an intercept, and a slope, is taken from the sample."""
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


def draw_hospitals(folder: Path, images: int) -> tuple[Path, Path]:
    """A data set of another seed than the demo's, and the same of another exposure."""
    seed, exposure = folder / "other_seed", folder / "other_exposure"
    if not seed.exists():
        draw_demo(seed, images=2, test_images=images, seed=SEED, size=320)
    shutil.rmtree(exposure, ignore_errors=True)
    expose_all(seed, exposure)
    return seed, exposure


def recalibrate(folder: Path, models: Path, images: int, bootstrap: int) -> None:
    root = draw_hospitals(folder, images)[1]
    own = SETTINGS | {"tables": "valid", "allow_patients": True}
    found = recalibration.recalibrate_folder(root, models, scoring(bootstrap), out=folder / "calibration.json", **own)
    print(recalibration.table(*found))
    ensemble = Ensemble.load(models)
    scored = score_folder(ensemble, root, models, **own).scored.only([recalibration.ENSEMBLE])
    print("\n| patients | moved | change of Brier score | of ECE | slopes moved | intercepts alone |")
    print("|---:|---|---:|---:|---:|---:|")
    for patients in SAMPLES:
        for name, (intercept, slope) in RULES.items():
            with patch.multiple(recalibration, INTERCEPT_ERROR=intercept, SLOPE_ERROR=slope):
                brier_change, ece_change, slopes, intercepts = sampled(scored, ensemble.calibration, patients)
            cells = f"{brier_change:+.4f} | {ece_change:+.4f} | {slopes:.0%} | {intercepts:.0%}"
            print(f"| {patients} | {name} | {cells} |", flush=True)


def sampled(scored: Scored, source: Calibration, patients: int) -> np.ndarray:
    """Means over REPEATS samples of so many patients, of what the others' Brier score and ECE change by, and of the
    shares of findings whose slope, and whose intercept alone, are moved."""
    owners = scored.patients.astype(str)
    generator, found = np.random.default_rng(SEED), []
    for _ in range(REPEATS):
        chosen = np.isin(owners, generator.permutation(np.unique(owners))[:patients])
        others = scored.subset(~chosen)
        fitted = recalibration.recalibrate(scored.subset(chosen), source)[recalibration.ENSEMBLE]
        calibrated = [probabilities(others.logits[0], own) for own in (source[recalibration.ENSEMBLE], fitted)]
        figures = [[[*per_finding(others, own, metric).values()] for metric in (brier, ece)] for own in calibrated]
        changes = np.mean(figures[1], axis=1) - np.mean(figures[0], axis=1)
        kinds = [own.fit for own in fitted.values()]
        moved = [np.mean([kind in names for kind in kinds]) for names in (("platt", "flat"), ("intercept",))]
        found.append([*changes, *moved])
    return np.mean(found, axis=0)


def hospitals(folder: Path, data: Path, models: Path, images: int, bootstrap: int) -> None:
    seed, exposure = draw_hospitals(folder, images)
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
    parser.add_argument("command", choices=("scale", "scale-step", "hospitals", "recalibrate"))
    parser.add_argument("--folder", type=Path, required=True, help="working folder, kept")
    parser.add_argument(
        "--images", type=int, nargs="+", default=[10_000, 100_000], help="hospitals and recalibrate: the first counts"
    )
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    given = parser.parse_args()
    if given.command == "scale":
        scale(given.folder, given.images, given.bootstrap)
    elif given.command == "scale-step":
        print(json.dumps(scale_step(given.folder, given.bootstrap)))
    elif given.command == "recalibrate":
        recalibrate(given.folder, given.models, given.images[0], given.bootstrap)
    else:
        hospitals(given.folder, given.data, given.models, given.images[0], given.bootstrap)


if __name__ == "__main__":
    main()
