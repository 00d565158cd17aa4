"""Time and memory of the whole evaluation of made-up logits, report included, at CheXpert's size.

python -m benchmarks.evaluation_size --images 38000 --patients 13000
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_json
from diagxnet.reporting.report import write_report
from diagxnet.reporting.section import Material
from diagxnet.statistics.results import measure
from diagxnet.statistics.scored import COMBINED, Scored
from diagxnet.statistics.scoring import Scoring
from stages.running import peak_memory

MEMBERS = ("densenet", "vit")
EPOCH = {"epoch": 1, "train_loss": 0.5, "val_loss": 0.5, "val_auroc": 0.8, "lr": 1e-3}
HISTORY = {"best_epoch": 1, "epochs_run": 1, "stopped_early": False, "train_images": 100_000, "epochs": [EPOCH]}
FINDINGS = len(CHEXPERT)
KNOWN = 0.95
"""Share of the labels that are known."""


def draw(images: int, patients: int, seed: int) -> Scored:
    """Logits of two members, their mean and an ensemble, with prevalences from 2% to 50% and groups of each kind."""
    generator = np.random.default_rng(seed)
    owners = np.sort(np.append(np.arange(patients), generator.integers(0, patients, images - patients)))
    targets = generator.random((images, FINDINGS)) < np.linspace(0.02, 0.5, FINDINGS)
    logits = generator.normal(size=(len(MEMBERS) + len(COMBINED), images, FINDINGS)) + 1.5 * targets

    def groups(names: tuple[str, ...], count: int, places: np.ndarray) -> np.ndarray:
        return np.array(names, object)[generator.integers(0, len(names), count)][places]

    attributes = {
        "sex": groups(("female", "male"), patients, owners),
        "age": groups(("under_40", "40_to_59", "60_to_79", "80_and_over"), patients, owners),
        "view": groups(("frontal_ap", "frontal_pa"), images, np.arange(images)),
    }
    mask = generator.random(targets.shape) < KNOWN
    names = np.array([f"image{number}" for number in range(images)], object)
    return Scored(
        (*MEMBERS, *COMBINED), logits, targets & mask, mask, owners.astype(object), attributes, names, CHEXPERT
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation_size", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=38_000, help="of test; val has as many")
    parser.add_argument("--patients", type=int, default=13_000, help="whose they are")
    arguments = parser.parse_args()
    val, test = (draw(arguments.images, arguments.patients, seed) for seed in (1, 2))
    scoring = Scoring("image", bootstrap=1000, min_positives=10, seed=0)
    counts = {"left_out": val, "not_learned": (), "studies": arguments.images, "dropped": 0}
    histories = dict.fromkeys((*MEMBERS, "meta"), HISTORY)
    started, busy = time.perf_counter(), time.process_time()
    results = measure(val, test, histories, scoring, **counts)
    measured, of_a_core = time.perf_counter() - started, time.process_time() - busy
    summary = {"rules": {"uncertain": {}, "blank": "negative", "views": "all"}, "splits": {}, "warnings": []}
    summary |= {"dropped": {"images": 0}, "dropped_images": []}
    shown = np.zeros((1, 80, 80), np.uint8), np.zeros(arguments.images, np.int64)
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), Material(results, summary, {}, *shown, test.targets, {}))
        write_json(Path(folder) / "evaluation.json", results.evaluation)
    whole, of_whole = time.perf_counter() - started, time.process_time() - busy
    print(
        f"measured in {measured:.0f} s ({of_a_core:.0f} s of a core), with the report {whole:.0f} s ({of_whole:.0f} s)"
    )
    print(f"at most {peak_memory().get('peak_memory_mib', 0):,.0f} MiB")


if __name__ == "__main__":
    main()
