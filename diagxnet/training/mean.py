"""The mean of the logits of models of one kind: the folds and seeds of a base model, the seeds of a meta-learner."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class MeanLogits(nn.Module):
    """Its members' logits, averaged: whatever a member reads to logits [images, findings]."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([member(inputs) for member in self.members]).mean(0)
