"""Training of one base model, from packed images and prepared labels to its folder."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_labels
from diagxnet.files import content_hash
from diagxnet.models.base import base_config, create_base
from diagxnet.models.checkpoint import save_model
from diagxnet.progress import Progress
from diagxnet.training.announce import announce
from diagxnet.training.history import history
from diagxnet.training.image_source import ImageSource
from diagxnet.training.loop import Epoch, Examples, Recipe, fit
from diagxnet.training.precision import create_accelerator
from diagxnet.training.resume import ResumeState, fingerprint, locked


def train_base(
    name: str,
    recipe: Recipe,
    *,
    arch: str,
    pretrained: bool | str,
    dropout: float,
    patch_size: int | None,
    batch_norm: bool,
    augmentation: dict[str, float],
    precision: str,
    packed: Path,
    prepared: Path,
    folder: Path,
    resume: Path,
) -> Iterator[Epoch]:
    """Trains timm's `arch` on the train split, stops on val, and writes `folder` (see models.checkpoint).

    Yields an Epoch for each, those of an interrupted run first. `resume` is a folder for the state of an unfinished
    training; it is gone when this ends well.
    """
    accelerator = create_accelerator(precision)
    images = open_packed(packed)
    network = {"image_size": images.shape[1], "pretrained": pretrained, "dropout": dropout}
    network |= {"patch_size": patch_size, "batch_norm": batch_norm}
    torch.manual_seed(recipe.seed)
    model = create_base(arch, **network)
    config = base_config(arch, **network)
    channels_last = model.is_convolutional
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    splits = {}
    for split, draws in (("train", augmentation), ("val", {})):
        labels = read_labels(prepared, split)
        source = ImageSource(images, labels.rows, recipe.seed, draws, channels_last)
        splits[split] = Examples(source, labels.targets, labels.mask)
    mark = fingerprint(
        recipe=asdict(recipe),
        model=config,
        pretrained=content_hash(pretrained) if isinstance(pretrained, str) else pretrained,
        augmentation=augmentation,
        precision=accelerator.mixed_precision,
        processes=accelerator.num_processes,
        data=[content_hash(packed / "images.npy")]
        + [content_hash(prepared / f"labels_{split}.npz") for split in ("train", "val")],
    )
    state = ResumeState(resume, mark)
    announce(name, accelerator, recipe, arch, model)
    epochs = []
    with locked(resume) if accelerator.is_main_process else contextlib.nullcontext():
        total = recipe.epochs * len(splits["train"])
        with Progress(total, name, shown=accelerator.is_main_process) as progress:
            for epoch in fit(model, **splits, recipe=recipe, accelerator=accelerator, state=state, progress=progress):
                epochs.append(epoch)
                yield epoch
        if accelerator.is_main_process:
            save_model(folder, model, config, history(epochs, recipe.epochs, len(splits["train"])))
            state.remove()
