"""Training of one base model, from packed images and prepared labels to its folder."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from diagxnet.console.progress import Progress
from diagxnet.data.files import array_hash, content_hash
from diagxnet.data.folds import read_folds
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_labels
from diagxnet.training.announce import announce
from diagxnet.training.checkpoint import save_joint, save_model
from diagxnet.training.history import history, joint_history
from diagxnet.training.image_source import ImageSource
from diagxnet.training.loop import Epoch, Examples, Recipe, fit
from diagxnet.training.networks import base_config, create_base, fold_folder
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
    stem: str,
    batch_norm: bool,
    augmentation: dict[str, float],
    precision: str,
    packed: Path,
    prepared: Path,
    folder: Path,
    resume: Path,
    folds: int | None = None,
) -> Iterator[Epoch]:
    """Trains timm's `arch` on the train split, stops on val, and writes `folder` (see models.checkpoint).

    folds: None, or so many models from equal initial weights, one after the other, each on train and stack without the
    patients of a fold (crossfit); `folder` then holds a model folder for each, and the joint config and history.
    Yields an Epoch for each, those of an interrupted run first. `resume` is a folder for the state of an unfinished
    training, of each fold by itself; it is gone when this ends well.
    """
    accelerator = create_accelerator(precision)
    images = open_packed(packed)
    network = {"image_size": images.shape[1], "pretrained": pretrained, "dropout": dropout}
    network |= {"patch_size": patch_size, "stem": stem, "batch_norm": batch_norm}
    config = base_config(arch, **network)
    identity = {
        "recipe": asdict(recipe),
        "model": config,
        "pretrained": content_hash(pretrained) if isinstance(pretrained, str) else pretrained,
        "augmentation": augmentation,
        "precision": accelerator.mixed_precision,
        "processes": accelerator.num_processes,
        "data": [content_hash(packed / "images.npy"), content_hash(prepared / "labels_val.npz")],
    }
    val = read_labels(prepared, "val")
    learned = [read_labels(prepared, "train")] if folds is None else read_folds(prepared, folds)
    histories = []
    total = recipe.epochs * sum(len(labels.rows) for labels in learned)
    with (
        locked(resume) if accelerator.is_main_process else contextlib.nullcontext(),
        Progress(total, name, shown=accelerator.is_main_process) as progress,
    ):
        for number, labels in enumerate(learned, 1):
            torch.manual_seed(recipe.seed)
            model = create_base(arch, **network)
            channels_last = model.is_convolutional
            if channels_last:
                model = model.to(memory_format=torch.channels_last)
            train, stop = (
                Examples(ImageSource(images, own.rows, recipe.seed, draws, channels_last), own.targets, own.mask)
                for own, draws in ((labels, augmentation), (val, {}))
            )
            if number == 1:
                announce(name, accelerator, recipe, arch, model)
            if folds is not None:
                progress.write(f"fold {number} of {folds}: learns from {len(train):,} images")
            mark = fingerprint(**identity, train=array_hash(labels.rows, labels.targets, labels.mask))
            state = ResumeState(resume if folds is None else fold_folder(resume, number), mark)
            epochs = []
            for epoch in fit(model, train, stop, recipe, accelerator=accelerator, state=state, progress=progress):
                epochs.append(epoch)
                yield epoch
            histories.append(history(epochs, recipe.epochs, len(train)))
            if accelerator.is_main_process:
                own = folder if folds is None else fold_folder(folder, number)
                save_model(own, model, config, histories[-1])
            accelerator.free_memory()
        accelerator.wait_for_everyone()  # a slower process may still be reading its best weights
        if accelerator.is_main_process:
            if folds is not None:
                save_joint(folder, config | {"folds": folds}, joint_history(histories))
            shutil.rmtree(resume, ignore_errors=True)
