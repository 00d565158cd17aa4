"""The training loss of an epoch, summed up beside the updates."""

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from diagxnet.console.errors import InputError


class EpochLoss:
    """The mean loss of an epoch or, after so many `updates` of it, of its next part.

    Each window's is checked one update late, so that a GPU never waits for the check.
    """

    def __init__(self, epoch: int, updates: int) -> None:
        self.epoch, self.updates, self.total, self.known = epoch, updates, 0.0, 0
        self.pending: tuple[Tensor, int, float, np.ndarray] | None = None

    def add(self, loss: Tensor, known: int, lr: float, examples: np.ndarray) -> None:
        """Takes a window's mean loss, of `known` labels of `examples`, after its update to the learning rate `lr`."""
        self._check()
        self.pending = loss, known, lr, examples
        self.updates += 1
        self.known += known

    def mean(self, accelerator: Accelerator) -> float:
        """Over the known labels of all windows and processes; InputError where it is not finite."""
        self._check()
        total = self.total
        if accelerator.num_processes > 1:
            total = float(accelerator.reduce(torch.tensor(total, device=accelerator.device), reduction="sum"))
        return total / self.known

    def _check(self) -> None:
        if self.pending is None:
            return
        loss, known, lr, examples = self.pending
        value = float(loss)
        if not np.isfinite(value):
            raise InputError(
                f"the loss is {value} in epoch {self.epoch}, update {self.updates}, at learning rate {lr:g}, on the "
                f"examples {sorted(examples.tolist())} of the split (lower lr, set train.max_grad_norm to 1.0, or "
                f"precision to fp32)"
            )
        self.total += value * known
