"""The base models' logits, once per image: what the meta-learner learns from and the evaluation scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.data.files import read_arrays, read_json
from diagxnet.data.findings import check_same
from diagxnet.data.folds import read_draws
from diagxnet.data.members import CONFIG, SCORES, member_folder, table_configs
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import FINDINGS_FILE, read_findings, read_manifest
from diagxnet.features.stacked import STACKED_SPLITS, write_stacked
from diagxnet.features.views import Views
from diagxnet.training.checkpoint import load_model
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.networks import from_config, model_folders
from diagxnet.training.precision import create_accelerator
from diagxnet.training.processes import from_first


def batch_statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of every buffer (BatchNorm's running means and variances)."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def stack_features(
    members: Sequence[str],
    models: Path,
    packed: Path,
    prepared: Path,
    folder: Path,
    *,
    precision: str,
    batch_size: int,
    views: int = 1,
    splits: Sequence[str] = STACKED_SPLITS,
) -> dict[str, float]:
    """Runs each of `members`, the base models below `models`, once over each image of `splits` and writes
    logits_SPLIT.npz into `folder`; of a member that is a table of predictions its scores, as `tables.given` read them.

    Under crossfit (a base model's folder holds folds) `stack` stands for the images of train and stack, each run
    through the one model of each kind that has not learned from its patient; logits of other splits are the mean. A
    model of several seeds is their mean everywhere.
    views: so many of each image, whose logits are averaged (see features.views).
    Several processes share the images of each model, to the bytes of one process on the same kind of device. What is in
    `models` only the first of them reads, whose `members` count, and it alone writes.
    Reads no labels. The models are in evaluation mode, and their BatchNorm statistics are checked to be the same
    afterwards (the scripts before put them back into training mode here). Returns counts for the timing.
    """
    accelerator = create_accelerator(precision)
    images = open_packed(packed)
    manifest = read_manifest(prepared)
    findings = read_findings(prepared).names
    members, places, tables = from_first(
        lambda: (members, *_places(members, models, findings, prepared / FINDINGS_FILE)), accelerator
    )
    number = len(next(iter(places.values())))
    rows = {split: manifest.loc[manifest["split"] == split, "row"].to_numpy(np.int64) for split in splits}
    parts = {split: [np.arange(len(rows[split]))] * number for split in splits}
    if number > 1 and "stack" in splits:
        draws = read_draws(prepared)
        rows["stack"] = draws.rows
        parts["stack"] = [np.flatnonzero(draws.folds(number) == fold) for fold in range(number)]
    models_a_fold = sum(len(each[0]) for each in places.values())
    passes = models_a_fold * sum(len(part) for each in parts.values() for part in each)
    logits = {
        split: {name: np.zeros((len(rows[split]), len(findings)), np.float32) for name in members} for split in splits
    }
    with Progress(passes, "stack_features", shown=accelerator.is_main_process) as progress:
        for name in places:
            for fold, seeds in enumerate(places[name]):
                chosen = {split: rows[split][parts[split][fold]] for split in splits}
                for place in seeds:
                    given = _run(place, images, chosen, views, batch_size, accelerator, progress)
                    for split in splits:
                        share = len(seeds) * (1 if split == "stack" else number)
                        logits[split][name][parts[split][fold]] += given[split] / np.float32(share)
    if accelerator.is_main_process:
        for name in tables:
            scores = read_arrays(member_folder(models, name) / SCORES)
            for split in splits:
                logits[split][name] = _chosen(name, scores["rows"], scores["logits"], rows[split])
        for split in splits:
            write_stacked(folder, split, rows[split], logits[split])
    accelerator.wait_for_everyone()
    return {"images": sum(map(len, rows.values()))}


def _places(
    members: Sequence[str], models: Path, findings: Sequence[str], of: Path
) -> tuple[dict[str, list[list[Path]]], list[str]]:
    """Folders [folds][seeds] of each base model among `members`, and those members that are tables; of: where
    `findings` were read."""
    tables = list(table_configs(models, members))
    places = {name: model_folders(member_folder(models, name)) for name in members if name not in tables}
    if len({len(each) for each in places.values()}) > 1:
        raise InputError(f"{models}: the base models have different numbers of folds (run dvc repro)")
    for name in members:
        config = member_folder(models, name) / CONFIG
        check_same(read_json(config).get("findings", ()), config, findings, of)
    return places, tables


def _chosen(name: str, rows: np.ndarray, logits: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Those of `logits` [rows, findings], of the member `name`, that are of the images `wanted`."""
    place = {row: number for number, row in enumerate(rows.tolist())}
    missing = [row for row in wanted.tolist() if row not in place]
    if missing:
        raise InputError(
            f"{name}: its table has no row for {len(missing):,} of {len(wanted):,} images of train and stack, which "
            f"crossfit stacks (let its maker score them, or stack.method=holdout)"
        )
    return logits[[place[row] for row in wanted.tolist()]]


def _load(place: Path, accelerator: Accelerator) -> nn.Module:
    """The model in the folder `place` of the first process, in each of them."""
    if accelerator.num_processes == 1:
        return load_model(place, from_config)

    def read() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        return read_json(place / CONFIG), load_model(place, from_config).state_dict()

    config, weights = from_first(read, accelerator)
    model = from_config(config).eval()
    model.load_state_dict(weights)
    return model


def _run(
    place: Path,
    images: np.ndarray,
    rows: dict[str, np.ndarray],
    views: int,
    batch_size: int,
    accelerator: Accelerator,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Logits [images, findings] of the model in `place` for the rows of each split."""
    model = _load(place, accelerator).to(accelerator.device)
    before = batch_statistics(model)
    logits = {}
    for split, own in rows.items():
        source = ImageSource(images, own)
        logits[split] = predict_logits(
            Views(model, views), source, len(own), batch_size=batch_size, accelerator=accelerator, progress=progress
        )
    changed = [key for key, value in batch_statistics(model).items() if not torch.equal(value, before[key])]
    if changed:
        raise AssertionError(f"{place}: evaluation changed the buffers {changed}")
    if any(module.training for module in model.modules()):
        raise AssertionError(f"{place}: parts of the model were left in training mode")
    return logits
