"""What the stages before `evaluate` leave, drawn: small, seeded, with every case that the evaluation must survive."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_arrays, write_json
from diagxnet.data.members import FIRST, member_folder
from diagxnet.data.prepared import write_findings
from diagxnet.features.stacked import read_stacked
from diagxnet.labels.prepare import count
from diagxnet.reporting.section import Material
from diagxnet.stacking.learners import create_meta
from diagxnet.statistics.results import Results
from diagxnet.statistics.scored import COMBINED, LEFT_OUT, Scored
from diagxnet.training.checkpoint import save_model

SIZES = {"train": 60, "val": 120, "stack": 40, "test": 150}
PREVALENCE = np.array([0.3, 0.4, 0.3, 0.5, 0.03, 0.2, 0.14, 0.1, 0.35, 0.12, 0.28, 0.1, 0.0, 0.45])
"""Of each finding: Fracture is never positive, Lung Lesion seldom."""

ONE_CLASS_ON_VAL = CHEXPERT.keys.index("pleural_other")
OPTIONS = {"hidden_dim": 8, "dropout": 0.0, "init": "average"}


def combination(members: Sequence[str]) -> dict:
    """What train_meta says of its ensemble, in models/meta/config.json."""
    weights = dict(zip(members, (0.75, 0.25, 0.5, 0.1, 0.2), strict=False))
    return {
        "core": {
            "weights": {name: dict.fromkeys(CHEXPERT.keys, weight) for name, weight in weights.items()},
            "standardised": False,
            "strengths": {"for_all": 1.0, "by_finding": 0.3},
            "kept": 0.9,
        },
        "correction": {"factor": 0.4, "gain": 9.0, "error": 3.0},
        "on_val": {
            "best_member": {"model": members[0], "auroc": 0.012, "error": 0.004, "behind": False},
            "average": {"model": "average", "auroc": -0.02, "error": 0.006, "behind": True},
        },
    }


def make_scored(
    units: int = 80,
    seed: int = 0,
    skill: float = 1.5,
    patients: int | None = None,
    members: Sequence[str] = FIRST,
) -> Scored:
    """Units with every finding known and both classes of each; skill grows along the models."""
    models = (*members, *COMBINED)
    generator = np.random.default_rng(seed)
    targets = generator.random((units, len(CHEXPERT))) < 0.3
    targets[0], targets[1] = True, False
    means = targets * skill * np.linspace(0.5, 1, len(models))[:, None, None]
    logits = generator.normal(size=(len(models), units, len(CHEXPERT))) + means
    owners = np.arange(units) % (patients or units)
    groups = {
        "sex": np.where(owners % 2, "male", "female").astype(object),
        "age": np.full(units, "under_40", object),
        "view": np.full(units, "frontal_ap", object),
    }
    return Scored(
        models,
        logits,
        targets,
        np.ones_like(targets),
        np.array([f"patient{owner:05d}" for owner in owners], object),
        groups,
        np.array([f"image{unit}" for unit in range(units)], object),
        CHEXPERT,
    )


def make_material(results: Results) -> Material:
    """What a report of `results` is made from, beside blank images of which none shows anything."""
    images = len(results.test.names)
    summary = {"rules": {"uncertain": {}, "blank": "negative", "views": "all"}, "splits": {}, "warnings": []}
    summary |= {"dropped": {"images": 0}, "dropped_images": []}
    positive = np.zeros((images, len(CHEXPERT)), bool)
    shown, rows = np.zeros((images, 8, 8), np.uint8), np.arange(images)
    return Material(results, summary, {}, shown, rows, positive, {})


def make_workspace(root: Path, model_seed: int = 0, members: Sequence[str] = FIRST) -> None:
    """data/, models/ and metrics/timing/ under `root`; data and labels are the same whatever `model_seed`."""
    labels = _labels(np.random.default_rng(1))
    manifest = _manifest(np.random.default_rng(2))
    prepared, packed = root / "data/prepared", root / "data/packed"
    prepared.mkdir(parents=True)
    packed.mkdir(parents=True)
    manifest.to_csv(prepared / "manifest.csv", index=False)
    models = np.random.default_rng([3, model_seed])
    for split, own in labels.items():
        rows = manifest["row"][manifest["split"] == split].to_numpy(np.int64)
        targets, mask = (own == 1).astype(np.float32), ~np.isnan(own)
        write_arrays(prepared / f"labels_{split}.npz", rows=rows, targets=targets, mask=mask)
        base = {
            name: models.normal(size=own.shape) + targets * (1.4 - 0.4 * place) for place, name in enumerate(members)
        }
        logits = {name: (values + 0.7).astype(np.float32) for name, values in base.items()}
        write_arrays(root / f"data/stacked/logits_{split}.npz", rows=rows, **logits)
    stored = read_stacked(root / "data/stacked", "val")
    write_arrays(root / "data" / LEFT_OUT, rows=stored.rows, logits=stored.logits.mean(axis=1) + 0.1)
    write_findings(prepared, CHEXPERT)
    write_json(prepared / "summary.json", _audit(manifest, labels))
    np.save(packed / "images.npy", np.random.default_rng(4).integers(0, 256, (len(manifest), 32, 32), dtype=np.uint8))
    np.save(packed / "shapes.npy", np.full((len(manifest), 2), (390, 320), np.int32))
    for name in (*members, "meta"):
        torch.manual_seed(model_seed)
        model, config = torch.nn.Linear(1, 1), {"arch": name, "pretrained": False}
        if name == "meta":
            model, config = (
                create_meta("mlp", len(members), len(CHEXPERT), **OPTIONS),
                {
                    "arch": "mlp",
                    "options": OPTIONS,
                    "models": list(members),
                    "members": 1,
                    "findings": list(CHEXPERT.names),
                }
                | {"combination": combination(members)},
            )
            torch.nn.init.normal_(model.layers[-1].weight, std=0.05)
        save_model(member_folder(root / "models", name), model, config, history(models))
    for stage in (*(f"train_{name}" for name in members), "stack_features", "train_meta"):
        write_json(root / f"metrics/timing/{stage}.json", {"seconds": 1.5})


def _labels(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """[images, findings] of each split: 1, 0, and NaN where masked."""
    labels = {}
    for split, size in SIZES.items():
        drawn = (generator.random((size, len(CHEXPERT))) < PREVALENCE).astype(float)
        drawn[generator.random(drawn.shape) < 0.05] = np.nan
        labels[split] = drawn
    labels["val"][:, ONE_CLASS_ON_VAL] = 0
    return labels


def _manifest(generator: np.random.Generator) -> pd.DataFrame:
    """Two images a patient and study, lateral every seventh, one patient of unknown age and sex in each split."""
    rows = []
    for split, size in SIZES.items():
        for image in range(size):
            patient = f"{split}{image // 2:04d}"
            unknown, sex = image < 2, ("female", "male")[image // 2 % 2]
            view, projection = ("lateral", "") if image % 7 == 6 else ("frontal", ("AP", "PA")[image // 4 % 2])
            age = "" if unknown else ("39", "40", "60", "80")[image // 2 % 4]
            path = f"train/{patient}/study1/view{image % 2 + 1}_{view}.jpg"
            sex = "unknown" if unknown else sex
            rows.append((len(rows), split, path, patient, f"{patient}/study1", view, projection, sex, age))
    return pd.DataFrame(rows, columns=["row", "split", "path", "patient", "study", "view", "projection", "sex", "age"])


def _audit(manifest: pd.DataFrame, labels: dict[str, np.ndarray]) -> dict:
    return {
        "rules": {"uncertain": dict.fromkeys(CHEXPERT.keys, "ignore"), "blank": "negative", "views": "all"},
        "splits": {split: count(manifest[manifest["split"] == split], own, CHEXPERT) for split, own in labels.items()},
        "tables": {"train": {"images": sum(SIZES.values()) - SIZES["test"] + 1}, "valid": {"images": SIZES["test"]}},
        "dropped": {"images": 1, "train": 1},
        "dropped_images": [{"table": "train", "path": "train/<b>patient</b>.jpg", "reason": "truncated"}],
        "not_annotated": {split: [] for split in labels},
        "not_learned": [],
        "warnings": ["fracture: negatives only in train in the table itself; nothing can be learned from that"],
    }


def history(generator: np.random.Generator) -> dict:
    losses = 0.7 * 0.9 ** np.arange(5) + generator.normal(size=5) * 0.001
    epochs = [
        {"epoch": e + 1, "train_loss": loss, "val_loss": loss + 0.02, "val_auroc": 0.6 + 0.05 * e, "lr": 1e-3}
        for e, loss in enumerate(losses.tolist())
    ]
    return {"best_epoch": 5, "epochs_run": 5, "stopped_early": False, "train_images": 60, "epochs": epochs}
