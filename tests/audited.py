"""A finished run of drawn labels and untrained models, whose files fit one another as an audit wants them."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from diagxnet.audit.claims import Claims, Pipeline
from diagxnet.audit.run import read_claims
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_arrays, write_json
from diagxnet.data.hierarchy import FLAT, Hierarchy
from diagxnet.data.members import member_folder
from diagxnet.ensemble.calibration import write_calibration
from diagxnet.features.stack import stack_features
from diagxnet.features.stacked import read_stacked
from diagxnet.images.pack import pack
from diagxnet.labels.prepare import prepare
from diagxnet.reading.inventory import take_inventory, write_inventory
from diagxnet.stacking.learners import create_meta
from diagxnet.statistics.history import metrics_files, training_metrics
from diagxnet.statistics.results import measure
from diagxnet.statistics.scored import LEFT_OUT, read_scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.summary import summary
from diagxnet.training.checkpoint import save_joint, save_model
from diagxnet.training.networks import base_config, from_config, member_counts, member_folders
from tests.radiographs import Row, image_path, write_image, write_table

SIZE = 32
NETWORK = {
    "findings": CHEXPERT.names,
    "image_size": SIZE,
    "pretrained": False,
    "dropout": 0.0,
    "stem": "patches",
    "batch_norm": False,
}
NETWORKS = {
    "densenet": base_config("resnet10t", patch_size=None, **NETWORK),
    "vit": base_config("vit_tiny_patch16_224", patch_size=16, **NETWORK),
}
OPTIONS = {"hidden_dim": 8, "dropout": 0.0, "init": "average"}
HISTORY = {
    "best_epoch": 2,
    "epochs_run": 2,
    "stopped_early": False,
    "train_images": 60,
    "epochs": [
        {"epoch": epoch, "train_loss": 0.7 / epoch, "val_loss": 0.8 / epoch, "val_auroc": 0.5 + epoch / 10, "lr": 1e-3}
        for epoch in (1, 2)
    ],
}
MIN_POSITIVES = 4


@dataclass(frozen=True)
class Run:
    """A run in the folder `root`, with what it claims."""

    root: Path
    claims: Claims
    pipeline: Pipeline

    @property
    def folders(self) -> tuple[Path, Path]:
        return self.root / "data", self.root / "models"


def make_run(
    root: Path,
    *,
    folds: int | None = None,
    seeds: int = 1,
    unit: str = "image",
    views: int = 1,
    networks: dict[str, dict] = NETWORKS,
    hierarchy: Hierarchy = FLAT,
) -> Run:
    """Makes one: 130 patients with an image or two, a damaged image, models with random weights, its metrics."""
    _draw(root / "release")
    data, models = root / "data", root / "models"
    write_inventory(root / "inventory.json", take_inventory(root / "release", cache=root / "cache"))
    pack(
        root / "release",
        root / "inventory.json",
        data / "packed",
        size=SIZE,
        bad_images="drop",
        work=root / "work",
        workers=1,
    )
    audit_table = prepare(
        root / "release",
        data / "packed",
        data / "prepared",
        views="all",
        uncertain=dict.fromkeys(CHEXPERT.keys, "ignore"),
        blank="negative",
        split_seed=1,
        max_patients=None,
        shares={"val": 0.3, "stack": 0.2, "test": 0.2},
        hierarchy=hierarchy,
    )
    parents = {"parents": hierarchy.conditional} if hierarchy.conditional else {}
    for seed, (name, config) in enumerate(networks.items()):
        make_base(member_folder(models, name), config | parents, seed=seed, folds=folds, seeds=seeds)
    torch.manual_seed(9)
    meta = create_meta("mlp", len(networks), len(CHEXPERT), **OPTIONS)
    torch.nn.init.normal_(meta.layers[-1].weight, std=0.1)
    config = {"arch": "mlp", "options": OPTIONS, "models": list(networks), "members": 1, "views": views}
    config["findings"] = list(CHEXPERT.names)
    save_model(models / "meta", meta, config, HISTORY)
    folders = models, data / "packed", data / "prepared", data / "stacked"
    stack_features(list(networks), *folders, precision="fp32", batch_size=64, views=views)
    stacked = read_stacked(data / "stacked", "val")
    write_arrays(data / LEFT_OUT, rows=stacked.rows, logits=stacked.logits.mean(axis=1))
    results = measure(
        read_scored(data, models, "val", unit),
        read_scored(data, models, "test", unit),
        dict.fromkeys((*networks, "meta"), HISTORY),
        Scoring(unit, bootstrap=20, min_positives=MIN_POSITIVES, seed=0),
        left_out=read_scored(data, models, "val", unit, left_out=True),
        not_learned=audit_table["not_learned"],
        parents=hierarchy.conditional,
        studies=audit_table["splits"]["test"]["studies"],
        dropped=audit_table["dropped"]["images"],
    )
    write_json(root / "metrics/evaluation.json", results.evaluation)
    write_json(root / "metrics/summary.json", summary(results.evaluation, {"densenet": 1.0}))
    for name, content in metrics_files(dict.fromkeys((*networks, "meta"), training_metrics(HISTORY))).items():
        write_json(root / f"metrics/{name}.json", content)
    best = results.evaluation["comparison"]["best_base"]
    write_calibration(models / "calibration.json", results.calibration, unit, best)
    reads = {"prepare": {"data/inventory.json"}, "evaluate": {"data/prepared/labels_test.npz", "models/vit"}}
    return Run(root, read_claims(root / "metrics", models), Pipeline(reads, ()))


def make_base(folder: Path, config: dict, *, seed: int, folds: int | None = None, seeds: int = 1) -> None:
    """A base model with random weights whose logits spread as those of a trained one, of so many networks."""
    for number, place in enumerate(itertools.chain(*member_folders(folder, folds, seeds)), 1):
        torch.manual_seed(10 * seed + number)
        model = from_config(config)
        torch.nn.init.normal_(model.network.get_classifier().weight, std=0.2)
        save_model(place, model, config, HISTORY)
    save_joint(folder, config | member_counts(folds, seeds), HISTORY)


def _draw(release: Path) -> None:
    generator = np.random.default_rng(5)
    rows = []
    for patient in range(130):
        for view in (1, 2)[: 1 + patient % 2]:
            drawn = generator.choice(["1.0", "0.0", "-1.0", ""], size=len(CHEXPERT), p=[0.35, 0.35, 0.1, 0.2])
            rows.append(
                Row(
                    image_path(patient, view=view),
                    sex=("Female", "Male", "Unknown")[patient % 3 % 2 + (patient % 17 == 0)],
                    age=str(20 + patient % 70),
                    projection=("AP", "PA", "")[patient % 3],
                    labels=dict(zip(CHEXPERT.names[1:12], drawn.tolist(), strict=False)),
                )
            )
            write_image(release / rows[-1].path, seed=len(rows))
    write_table(release / "train.csv", rows)
    (release / rows[3].path).write_bytes(b"")
