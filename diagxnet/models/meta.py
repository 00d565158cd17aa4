"""The meta-learner: from the base models' logits to the ensemble's (stacked generalisation, Wolpert 1992)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diagxnet.data.stacked import BASE_MODELS
from diagxnet.findings import FINDINGS
from diagxnet.models.checkpoint import load_model


class MetaMLP(nn.Module):
    """The guide's multi-layer perceptron: logits [images, models, findings] to logits [images, findings].

    Two hidden layers, `hidden_dim` and half of it, each with ReLU and dropout. With `init="average"` the network is a
    correction to the mean of the base logits and its last layer starts at zero, so that the ensemble starts exactly at
    the plain average and departs from it only where the stack split gives a reason; with `init="random"` the network
    is all there is, as in the scripts before.
    """

    def __init__(self, hidden_dim: int = 256, dropout: float = 0.2, init: str = "average") -> None:
        super().__init__()
        self.init = init
        outputs = len(FINDINGS)
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(len(BASE_MODELS) * outputs, hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim // 2, outputs),
        )
        if init == "average":
            nn.init.zeros_(self.layers[-1].weight)
            nn.init.zeros_(self.layers[-1].bias)

    def forward(self, logits: Tensor) -> Tensor:
        correction = self.layers(logits)
        return correction + logits.mean(1) if self.init == "average" else correction


META_LEARNERS = {"mlp": MetaMLP}


def create_meta(arch: str, **options: Any) -> nn.Module:
    """A meta-learner of `arch` (a key of META_LEARNERS) with random weights."""
    return META_LEARNERS[arch](**options)


def load_meta(folder: Path) -> nn.Module:
    """The trained meta-learner in `folder` (models/meta), in evaluation mode, in float32."""
    return load_model(folder, lambda config: create_meta(config["arch"], **config["options"]))


def apply_meta(model: nn.Module, logits: Tensor) -> Tensor:
    """The ensemble's logits [images, findings] for stacked base logits [images, models, findings]."""
    model.eval()
    with torch.inference_mode():
        return model(logits.float())
