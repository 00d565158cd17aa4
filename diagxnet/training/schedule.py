"""Optimizers and learning rate schedules."""

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau


def create_optimizer(name: str, model: nn.Module, *, lr: float, weight_decay: float, fused: bool = False) -> Optimizer:
    """`adamw` decouples the weight decay (Loshchilov and Hutter, ICLR 2019); `adam` adds it to the gradient.

    fused: one kernel for all of an update, in place of torch's choice for the device.
    """
    kind = {"adamw": AdamW, "adam": Adam}[name]
    return kind(model.parameters(), lr=lr, weight_decay=weight_decay, fused=fused or None)


def create_scheduler(
    name: str, optimizer: Optimizer, *, updates: int, lr: float, warmup: float, factor: float, patience: int
) -> LRScheduler | ReduceLROnPlateau:
    """`plateau` steps once an epoch, with the val loss; `onecycle` and `constant` once an update, `updates` times.

    onecycle: Smith, "A disciplined approach to neural network hyper-parameters", arXiv:1803.09820, cosine annealing.
    """
    if name == "plateau":
        return ReduceLROnPlateau(optimizer, mode="min", factor=factor, patience=patience)
    if name == "onecycle":
        rises = warmup * updates > 1  # torch divides by zero where the rise is one update long
        start = warmup if rises else 0.0
        return OneCycleLR(optimizer, max_lr=lr, total_steps=max(updates, 2), pct_start=start, anneal_strategy="cos")
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
