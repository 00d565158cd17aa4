"""Optimizers, learning rate schedules, and when to stop."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Optimization:
    """What makes an update of the gradients, likewise."""

    optimizer: str
    weight_decay: float
    max_grad_norm: float | None


def create_optimizer(optimization: Optimization, model: nn.Module, lr: float, *, fused: bool = False) -> Optimizer:
    """`adamw` decouples the weight decay (Loshchilov and Hutter, ICLR 2019); `adam` adds it to the gradient.

    All parameters decay, biases too. fused: one kernel for all of an update, in place of torch's choice for the device.
    """
    kind = {"adamw": AdamW, "adam": Adam}[optimization.optimizer]
    return kind(model.parameters(), lr=lr, weight_decay=optimization.weight_decay, fused=fused or None)


def create_scheduler(schedule: Schedule, optimizer: Optimizer, updates: int) -> LRScheduler | ReduceLROnPlateau:
    """`plateau` steps once an epoch, with the val loss; `onecycle` and `constant` once an update, `updates` times.

    onecycle: Smith, "A disciplined approach to neural network hyper-parameters", arXiv:1803.09820, cosine annealing.
    """
    if schedule.scheduler == "plateau":
        factor, patience = schedule.plateau_factor, schedule.plateau_patience
        return ReduceLROnPlateau(optimizer, mode="min", factor=factor, patience=patience)
    if schedule.scheduler == "onecycle":
        rises = schedule.warmup * updates > 1  # torch divides by zero where the rise is one update long
        start = schedule.warmup if rises else 0.0
        total = max(updates, 2)
        return OneCycleLR(optimizer, max_lr=schedule.lr, total_steps=total, pct_start=start, anneal_strategy="cos")
    return LambdaLR(optimizer, lambda update: 1.0)


class EarlyStopping:
    """Stops after `patience` epochs in which the val loss did not fall by more than `min_delta`; None: never."""

    def __init__(self, patience: int | None, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best, self.waited = float("inf"), 0

    def stops(self, val_loss: float) -> bool:
        if val_loss < self.best - self.min_delta:
            self.best, self.waited = val_loss, 0
        else:
            self.waited += 1
        return self.patience is not None and self.waited >= self.patience
