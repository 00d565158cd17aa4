"""Training of one base model, from packed images and prepared labels to its folder."""

import contextlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from diagxnet.console.progress import Progress
from diagxnet.data.files import array_hash, content_hash
from diagxnet.data.folds import read_folds
from diagxnet.data.hierarchy import pairs
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import Labels, read_hierarchy, read_labels
from diagxnet.training.announce import announce
from diagxnet.training.checkpoint import save_joint, save_model
from diagxnet.training.history import history, joint_history
from diagxnet.training.image_source import ImageSource
from diagxnet.training.loop import Epoch, Examples, fit
from diagxnet.training.networks import base_config, create_base, member_counts, member_folders, synchronised
from diagxnet.training.precision import create_accelerator
from diagxnet.training.preload import preload
from diagxnet.training.recipe import Recipe, member_seed
from diagxnet.training.resume import ResumeState, fingerprint, locked

ROOMS = ("data", "training")
"""What shapes a base model's weights."""


@dataclass(frozen=True)
class _Member:
    """One network of a base model: what it learns from, a recipe with its seed, and where it and its state go."""

    title: str
    labels: Labels
    recipe: Recipe
    folder: Path
    resume: Path


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
    seeds: int = 1,
    crop: str = "guide",
    drop_path: float = 0.0,
    grad_checkpointing: bool = False,
    normalise: str | Sequence[float] = "image",
) -> Iterator[Epoch]:
    """Trains a network of `arch` (see networks.create_base) on the train split, stops on val, and writes `folder`
    (see training.checkpoint).

    crop: what of a film the images of `packed` are, for the record. folds: None, or so many models from equal initial
    weights, one after the other, each on train and stack without the patients of a fold (crossfit). seeds: so many
    models of each of these, each from a seed of its own. Of several, `folder` holds a model folder for each (see
    networks.member_folders), and the joint config and history. Yields an Epoch for each, those of an interrupted run
    first. `resume` is a folder for the state of an unfinished training, of each model by itself; it is gone when this
    ends well.
    """
    accelerator = create_accelerator(precision)
    images = open_packed(packed)
    network = {"image_size": images.shape[1], "pretrained": pretrained, "dropout": dropout}
    network |= {"patch_size": patch_size, "stem": stem, "batch_norm": batch_norm, "normalise": normalise}
    findings, hierarchy = read_hierarchy(prepared)
    parents = hierarchy.conditional
    config = base_config(arch, findings=findings.names, crop=crop, parents=parents, **network)
    learning = {"drop_path": drop_path, "grad_checkpointing": grad_checkpointing}
    above = pairs(parents, findings.keys)
    identity = {
        "model": config,
        **learning,
        "pretrained": content_hash(pretrained) if isinstance(pretrained, str) else pretrained,
        "augmentation": augmentation,
        "precision": accelerator.mixed_precision,
        "processes": accelerator.num_processes,
        "data": [preload(name, packed / "images.npy", accelerator), content_hash(prepared / "labels_val.npz")],
    }
    val = read_labels(prepared, "val")
    members = _members(recipe, prepared, folder, resume, folds, seeds)
    histories = []
    with (
        locked(resume) if accelerator.is_main_process else contextlib.nullcontext(),
        Progress(_examples_in_all(members), name, shown=accelerator.is_main_process) as progress,
    ):
        for member in members:
            own = member.recipe
            torch.manual_seed(own.seed)
            model = create_base(arch, findings=len(findings), **network, **learning)
            if recipe.sync_batch_norm:
                model = synchronised(model, accelerator)
            if member is members[0]:
                announce(name, accelerator, recipe, arch, model)
            if len(members) > 1:
                progress.write(f"{member.title}: learns from {len(member.labels.rows):,} images")
            train, stop = (
                Examples(ImageSource(images, labels.rows, own.seed, draws), labels.targets, labels.mask, above)
                for labels, draws in ((member.labels, augmentation), (val, {}))
            )
            labelled = array_hash(member.labels.rows, member.labels.targets, train.learned)
            mark = fingerprint(ROOMS, accelerator.device, recipe=own.identity(), train=labelled, **identity)
            state = ResumeState(member.resume, mark)
            training = fit(model, train, stop, own, accelerator=accelerator, state=state, progress=progress)
            epochs, average = yield from training
            histories.append(history(epochs, own.schedule, len(train), average))
            if accelerator.is_main_process:
                save_model(member.folder, model, config, histories[-1])
            accelerator.free_memory()
        if accelerator.is_main_process:
            if len(members) > 1:
                save_joint(folder, config | member_counts(folds, seeds), joint_history(histories))
            shutil.rmtree(resume, ignore_errors=True)


def _members(
    recipe: Recipe, prepared: Path, folder: Path, resume: Path, folds: int | None, seeds: int
) -> list[_Member]:
    learned = [read_labels(prepared, "train")] if folds is None else read_folds(prepared, folds)
    places, states = (itertools.chain(*member_folders(each, folds, seeds)) for each in (folder, resume))
    members = []
    for fold, labels in enumerate(learned, 1):
        for seed in range(1, seeds + 1):
            counts = ("fold", fold, folds or 1), ("seed", seed, seeds)
            title = ", ".join(f"{what} {number} of {of}" for what, number, of in counts if of > 1)
            own = replace(recipe, seed=member_seed(recipe.seed, seed - 1))
            members.append(_Member(title, labels, own, next(places), next(states)))
    return members


def _examples_in_all(members: list[_Member]) -> int:
    """Training examples that all members see in all epochs, for the progress bar."""
    return sum(member.recipe.schedule.epochs * len(member.labels.rows) for member in members)
