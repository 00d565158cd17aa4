"""The base models' logits, once per image: what the meta-learner learns from and the evaluation scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_manifest
from diagxnet.data.stacked import BASE_MODELS, STACKED_SPLITS, write_stacked
from diagxnet.models.base import BaseModel, from_config
from diagxnet.models.checkpoint import load_model
from diagxnet.progress import Progress
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.precision import create_accelerator


def batch_statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of every buffer (BatchNorm's running means and variances)."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def stack_features(
    models: Path,
    packed: Path,
    prepared: Path,
    folder: Path,
    *,
    precision: str,
    batch_size: int,
    splits: Sequence[str] = STACKED_SPLITS,
) -> dict[str, float]:
    """Runs each base model once over each image of `splits` and writes logits_SPLIT.npz into `folder`.

    Reads no labels. The models are in evaluation mode, and their BatchNorm statistics are checked to be the same
    afterwards (the scripts before put them back into training mode here). Returns counts for the timing.
    """
    accelerator = create_accelerator(precision)
    images = open_packed(packed)
    manifest = read_manifest(prepared)
    rows = {split: manifest.loc[manifest["split"] == split, "row"].to_numpy(np.int64) for split in splits}
    logits: dict[str, dict[str, np.ndarray]] = {split: {} for split in splits}
    passes = len(BASE_MODELS) * sum(map(len, rows.values()))
    with Progress(passes, "stack_features") as progress:
        for name in BASE_MODELS:
            model: BaseModel = load_model(models / name, from_config)
            channels_last = model.is_convolutional
            if channels_last:
                model = model.to(memory_format=torch.channels_last)
            model = model.to(accelerator.device)
            before = batch_statistics(model)
            for split in splits:
                source = ImageSource(images, rows[split], channels_last=channels_last)
                logits[split][name] = predict_logits(
                    model, source, len(rows[split]), batch_size=batch_size, accelerator=accelerator, progress=progress
                )
            changed = [key for key, value in batch_statistics(model).items() if not torch.equal(value, before[key])]
            if changed:
                raise AssertionError(f"{name}: evaluation changed the buffers {changed}")
    for split in splits:
        write_stacked(folder, split, rows[split], logits[split])
    return {"images": passes / len(BASE_MODELS)}
