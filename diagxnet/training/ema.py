"""Averages of a network over its training: less noise than in the weights of any one update.

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 1992.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """The exponential one: `model` is a copy of the network that learns, whose weights and buffers are their average
    over `updates` updates.

    Each update keeps min(decay, (1 + n) / (10 + n)) of the average, n being the updates before it, and takes the rest
    from the network: the untrained weights are soon forgotten. Whole numbers (BatchNorm's count of batches) are taken
    as they are. (torch's AveragedModel would make a GPU wait for the count at each update.)
    """

    def __init__(self, network: nn.Module, decay: float, device: torch.device) -> None:
        self.model = copy.deepcopy(network).to(device).requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes in the network as it is after an update."""
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        pairs = list(zip(_tensors(self.model), _tensors(network), strict=True))
        averages, values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, values, 1 - kept)
        for average, value in pairs:
            if not average.is_floating_point():
                average.copy_(value)
        self.updates += 1

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def take_up(self, state: dict[str, Any]) -> None:
        """Goes on from a `state`."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights and buffers of one network at several times, BatchNorm's moments among them, as in the
    moving average; whole numbers are those of the first.

    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018.
    """
    pairs = ((name, torch.stack([state[name] for state in states])) for name in states[0])
    return {name: each.mean(0) if each.is_floating_point() else each[0] for name, each in pairs}


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
