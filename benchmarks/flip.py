"""Whether mirrored hearts cost AUROC: DenseNet-121 trained with and without `augment.flip`, on the same splits.

    python -m benchmarks.flip --root /your/nih-cxr-1k --folder /somewhere --seeds 8

Each seed draws other splits and other initial weights, and trains twice, as params.yaml says but for `augment.flip` (0
and 0.5). The epoch is chosen on val (20% of train.csv's patients); the AUROC is of the stack and the test split, which
chose nothing. Differences are paired by seed. About two minutes a seed on two cores.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.data import pack_into
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_json
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_labels
from diagxnet.labels.prepare import prepare
from diagxnet.params.augment import AugmentParams
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from diagxnet.params.member import MemberParams
from diagxnet.params.seed import Seed
from diagxnet.params.train import TrainParams
from diagxnet.training.base import train_base
from diagxnet.training.checkpoint import load_model
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.networks import from_config
from diagxnet.training.precision import create_accelerator
from stages import prepare as prepare_stage
from stages.base_model import options

FLIPS = (0.0, 0.5)
SCORED = ("stack", "test")
MIN_POSITIVES = 10


def split(root: Path, packed: Path, folder: Path, data: DataParams, seed: int) -> Path:
    prepare(root, packed, folder, **prepare_stage.options(data, ()) | {"split_seed": seed, "max_patients": None})
    return folder


def train_and_score(params, flip: float, seed: int, packed: Path, prepared: Path, folder: Path) -> dict[str, float]:
    """AUROC on the held-out rows of a DenseNet-121 trained with `augment.flip` = flip: per finding, and their mean."""
    params.seed = seed
    recipe, network, precision = options(params, params.densenet)
    training = train_base(
        f"seed {seed}, flip {flip}",
        recipe,
        **network,
        augmentation=params.augment.model_dump() | {"flip": flip},
        precision=precision,
        packed=packed,
        prepared=prepared,
        folder=folder / "model",
        resume=folder / "resume",
    )
    for _ in training:
        pass
    model = load_model(folder / "model", from_config)
    held_out = [read_labels(prepared, name) for name in SCORED]
    rows, targets, mask = (
        np.concatenate([getattr(each, key) for each in held_out]) for key in ("rows", "targets", "mask")
    )
    accelerator = create_accelerator(precision)
    source = ImageSource(open_packed(packed), rows)
    logits = predict_logits(model, source, len(rows), batch_size=64, accelerator=accelerator)
    scores = {}
    for index, key in enumerate(CHEXPERT.keys):
        truth = targets[mask[:, index], index] > 0.5
        if min(truth.sum(), (~truth).sum()) >= MIN_POSITIVES:
            scores[key] = float(roc_auc_score(truth, logits[mask[:, index], index]))
    return scores | {"macro": float(np.mean(list(scores.values())))}


def print_table(results: list[dict]) -> None:
    print("| seed | macro AUROC, flip 0 | flip 0.5 | difference |\n" + "| ---: " * 4 + "|")
    differences: dict[str, list[float]] = {}
    for result in results:
        without, mirrored = (result[str(flip)] for flip in FLIPS)
        for key, value in without.items():
            differences.setdefault(key, []).append(mirrored[key] - value)
        change = mirrored["macro"] - without["macro"]
        print(f"| {result['seed']} | {without['macro']:.3f} | {mirrored['macro']:.3f} | {change:+.3f} |")
    print("\n| finding | seeds in which it is scored | mean difference | standard error |\n" + "| ---: " * 4 + "|")
    for key, each in differences.items():
        if len(each) > 1:
            error = np.std(each, ddof=1) / np.sqrt(len(each))
            print(f"| {key} | {len(each)} | {np.mean(each):+.3f} | {error:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="a data set in CheXpert's layout")
    parser.add_argument("--folder", type=Path, required=True, help="scratch")
    parser.add_argument("--seeds", type=int, default=8)
    arguments = parser.parse_args()
    params = read_params(seed=Seed, data=DataParams, augment=AugmentParams, train=TrainParams, densenet=MemberParams)
    packed = pack_into(arguments.root, arguments.folder, params.data.image_size)
    results = []
    for seed in range(1, arguments.seeds + 1):
        prepared = split(arguments.root, packed, arguments.folder / "prepared", params.data, seed)
        scores = {str(flip): train_and_score(params, flip, seed, packed, prepared, arguments.folder) for flip in FLIPS}
        results.append({"seed": seed, **scores})
        write_json(arguments.folder / "flip.json", results)
    print_table(results)


if __name__ == "__main__":
    main()
