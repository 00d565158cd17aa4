"""Optimizers and their updates, learning rate schedules, and when to stop."""

from dataclasses import dataclass
from functools import partial
from math import cos, pi
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau


@dataclass(frozen=True)
class Schedule:
    """How long, and at which learning rates; the comments of params.yaml say what each value is, and its unit."""

    epochs: int
    lr: float
    scheduler: str
    plateau_factor: float
    plateau_patience: int
    warmup: float
    patience: int | None
    min_delta: float
    best: str = "loss"
    probe_epochs: int = 0
    val_every: int | None = None
    average_best: int | None = None

    def validations(self, updates: int) -> int:
        """How often val is scored in an epoch of so many `updates`: after each `val_every` of them, and at its end."""
        return 1 if self.val_every is None else -(-updates // self.val_every)

    def epochs_of(self, probing: bool) -> int:
        """How many of `epochs` are a linear probe of a pretrained network (`probing`), or come after it (Kumar et al.,
        "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022)."""
        return self.probe_epochs if probing else self.epochs - self.probe_epochs

    def badness(self, val_loss: float, val_auroc: float | None) -> float:
        """What the best epoch has the least of: the val loss, or what the macro AUROC on val lacks of 1 (`best`)."""
        return val_loss if self.best == "loss" or val_auroc is None else 1 - val_auroc


@dataclass(frozen=True)
class Optimization:
    """What makes an update of the gradients, likewise."""

    optimizer: str
    weight_decay: float
    max_grad_norm: float | None
    layer_decay: float | None = None
    head_lr: float | None = None


def create_optimizer(optimization: Optimization, model: nn.Module, lr: float, *, fused: bool = False) -> Optimizer:
    """`adamw` decouples the weight decay (Loshchilov and Hutter, ICLR 2019); `adam` adds it to the gradient.

    fused: one kernel for all of an update, in place of torch's choice for the device. All parameters learn at `lr` and
    decay, biases too, unless there is a `layer_decay`: then a timm network's layers learn at lr * layer_decay^depth,
    depth counted from the classifier's 0, and what has one dimension (norms, biases) or timm exempts (position
    embeddings) does not decay (Bao et al., "BEiT", arXiv:2106.08254, appendix; Clark et al., "ELECTRA", ICLR 2020).
    A `head_lr` is the rate of a BaseModel's head, whatever that of the rest.
    """
    kind = {"adamw": AdamW, "adam": Adam}[optimization.optimizer]
    decay = optimization.weight_decay
    whole = [{"params": list(model.parameters())}]
    groups = whole if optimization.layer_decay is None else _layers(model, optimization, lr)
    if optimization.head_lr is not None:
        groups = _head_apart(groups, model, optimization.head_lr)
    return kind(groups, lr=lr, weight_decay=decay, fused=fused or None)


def _layers(model: nn.Module, optimization: Optimization, lr: float) -> list[dict[str, Any]]:
    """Groups of the parameters of `model`, a BaseModel, by layer and decay, each with its rate."""
    from timm.optim import param_groups_layer_decay  # the meta-learner, which has no layers, need not import timm

    exempt = getattr(model.network, "no_weight_decay", set)()
    groups = param_groups_layer_decay(
        model.network,
        optimization.weight_decay,
        no_weight_decay_list=exempt,
        layer_decay=optimization.layer_decay,
        verbose=False,
    )
    return [{key: each[key] for key in ("params", "weight_decay")} | {"lr": lr * each["lr_scale"]} for each in groups]


def _head_apart(groups: list[dict[str, Any]], model: nn.Module, head_lr: float) -> list[dict[str, Any]]:
    """`groups`, with what of them is of the head of `model`, a BaseModel, in groups of its own."""
    own = {parameter for part in model.head() for parameter in part.parameters()}
    parts = [(group, [each for each in group["params"] if each in own]) for group in groups]
    body = [group | {"params": [each for each in group["params"] if each not in own]} for group in groups]
    head = [group | {"params": params, "lr": head_lr} for group, params in parts]
    return [group for group in body + head if group["params"]]


def update(optimizer: Optimizer, scaler: torch.amp.GradScaler | None, max_norm: float | None) -> bool:
    """One update from the gradients, clipped to the L2 norm `max_norm`, which are gone afterwards; whether it was made.

    Under fp16 `scaler` takes its factor out of them first, and leaves out an update whose gradients overflowed. This is
    what accelerate's optimizer does, without its search for optional packages, a tenth of a meta-learner's step.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)
    if max_norm is not None:
        nn.utils.clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], max_norm)
    made = True
    if scaler is None:
        optimizer.step()
    else:
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        made = scaler.get_scale() >= scale  # it lowers its factor after an overflow, and then alone
    optimizer.zero_grad()
    return made


def create_scheduler(schedule: Schedule, optimizer: Optimizer, updates: int) -> LRScheduler | ReduceLROnPlateau:
    """`plateau` steps at each validation, with what the best epoch has the least of (`Schedule.badness`); `onecycle`,
    `cosine` and `constant` once an update, `updates` times.

    onecycle: Smith, "A disciplined approach to neural network hyper-parameters", arXiv:1803.09820, cosine annealing;
    Adam's first beta falls and rises against the rate. cosine: the rate rises linearly over the share `warmup` of the
    updates (Goyal et al., arXiv:1706.02677) and falls to 0 by half a cosine (Loshchilov and Hutter, ICLR 2017).
    """
    if schedule.scheduler == "plateau":
        factor, patience = schedule.plateau_factor, schedule.plateau_patience
        return ReduceLROnPlateau(optimizer, mode="min", factor=factor, patience=patience)
    if schedule.scheduler == "onecycle":
        rises = schedule.warmup * updates > 1  # torch divides by zero where the rise is one update long
        start = schedule.warmup if rises else 0.0
        total = max(updates, 2)
        rates = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, max_lr=rates, total_steps=total, pct_start=start, anneal_strategy="cos")
    if schedule.scheduler == "cosine":
        return LambdaLR(optimizer, partial(_warm_cosine, rise=round(schedule.warmup * updates), updates=updates))
    return LambdaLR(optimizer, lambda update: 1.0)


def _warm_cosine(update: int, *, rise: int, updates: int) -> float:
    """The share of the peak rate at `update`, from 0: the first of a `rise` of so many updates is no update at 0."""
    if update < rise:
        return (update + 1) / (rise + 1)
    return (1 + cos(pi * (update - rise) / (updates - rise))) / 2 if update < updates else 0.0


class EarlyStopping:
    """Stops after `patience` validations in which val got no better by more than `min_delta`; None: never."""

    def __init__(self, patience: int | None, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best, self.waited = float("inf"), 0

    def stops(self, badness: float) -> bool:
        if badness < self.best - self.min_delta:
            self.best, self.waited = badness, 0
        else:
            self.waited += 1
        return self.patience is not None and self.waited >= self.patience
