"""The meta-learner: from the base models' logits to the ensemble's (stacked generalisation, Wolpert 1992)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diagxnet.training.checkpoint import load_model
from diagxnet.training.mean import MeanLogits


class MetaLearner(nn.Module):
    """What every meta-learner shares: stacked logits [images, models, findings] to logits [images, findings].

    With `init="average"` the ensemble is a core, a weighted mean of the base logits (see `stacking.weights`), which
    starts as the plain mean, and on top of it a correction that starts at zero: the network, times `factor`. Core and
    factor are no parameters: they are fitted otherwise, and set. With `init="random"` the network is all there is, as
    in the scripts before. inputs: `logits`, or `probabilities` (their sigmoids), of the network.
    """

    def __init__(self, models: int, findings: int, init: str, inputs: str) -> None:
        super().__init__()
        self.init, self.inputs = init, inputs
        if init == "average":
            self.register_buffer("weights", torch.full((models, findings), 1 / models))
            self.register_buffer("offsets", torch.zeros(findings))
            self.register_buffer("factor", torch.ones(()))

    def forward(self, logits: Tensor) -> Tensor:
        correction = self.correct(logits.sigmoid() if self.inputs == "probabilities" else logits)
        return correction if self.init == "random" else self.core(logits) + self.factor * correction

    def core(self, logits: Tensor) -> Tensor:
        return (logits * self.weights).sum(1) + self.offsets

    def correct(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def set_core(self, weights: np.ndarray, offsets: np.ndarray) -> None:
        """weights: [models, findings], of the base logits as they are. offsets: [findings]."""
        self.weights.copy_(torch.from_numpy(weights))
        self.offsets.copy_(torch.from_numpy(offsets))


class MetaConvex(MetaLearner):
    """The core alone: nothing to learn by gradient."""

    def __init__(self, models: int, findings: int, init: str = "average", inputs: str = "logits") -> None:
        super().__init__(models, findings, init, inputs)

    def correct(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs[:, 0])


class MetaMLP(MetaLearner):
    """The guide's multi-layer perceptron: every finding of every model to every finding.

    Two hidden layers, `hidden_dim` and half of it, each with ReLU and dropout.
    """

    def __init__(
        self,
        models: int,
        findings: int,
        hidden_dim: int = 256,
        dropout: float = 0.2,
        init: str = "average",
        inputs: str = "logits",
    ) -> None:
        super().__init__(models, findings, init, inputs)
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(models * findings, hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim // 2, findings),
        )
        if init == "average":
            nn.init.zeros_(self.layers[-1].weight)
            nn.init.zeros_(self.layers[-1].bias)

    def correct(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


class MetaLinear(MetaLearner):
    """A logistic regression per finding, on what each base model says of that finding (Wolpert 1992, Ting and Witten
    1999): a weight for each model, and a bias."""

    def __init__(self, models: int, findings: int, init: str = "average", inputs: str = "logits") -> None:
        super().__init__(models, findings, init, inputs)
        shape = models, findings
        self.slopes = nn.Parameter(torch.zeros(shape) if init == "average" else torch.randn(shape) / models)
        self.intercepts = nn.Parameter(torch.zeros(findings))

    def correct(self, inputs: Tensor) -> Tensor:
        return (inputs * self.slopes).sum(1) + self.intercepts


class MetaAttention(MetaLearner):
    """For each finding, attention over what the base models say of it and of the other findings.

    Each model's logit of each finding is a token of `hidden_dim` channels: the logit times one learned vector, plus
    another, which tells whose it is. A learned query for each finding attends over all tokens with four heads
    (Vaswani et al. 2017), and a linear layer of its own makes a logit of the result.
    """

    HEADS = 4

    def __init__(
        self,
        models: int,
        findings: int,
        hidden_dim: int = 256,
        dropout: float = 0.2,
        init: str = "average",
        inputs: str = "logits",
    ) -> None:
        super().__init__(models, findings, init, inputs)
        tokens = models * findings
        deviation = hidden_dim**-0.5
        self.values = nn.Parameter(torch.randn(tokens, hidden_dim) * deviation)
        self.names = nn.Parameter(torch.randn(tokens, hidden_dim) * deviation)
        self.queries = nn.Parameter(torch.randn(findings, hidden_dim) * deviation)
        self.attention = nn.MultiheadAttention(hidden_dim, self.HEADS, batch_first=True)
        self.normalise = nn.LayerNorm(hidden_dim)
        self.dropout = nn.Dropout(dropout)
        start = (
            torch.zeros(findings, hidden_dim) if init == "average" else torch.randn(findings, hidden_dim) * deviation
        )
        self.weight, self.bias = nn.Parameter(start), nn.Parameter(torch.zeros(findings))

    def correct(self, inputs: Tensor) -> Tensor:
        tokens = inputs.flatten(1).unsqueeze(2) * self.values + self.names
        queries = self.queries.expand(len(inputs), -1, -1)
        attended, _ = self.attention(queries, tokens, tokens, need_weights=False)
        return (self.dropout(self.normalise(attended)) * self.weight).sum(2) + self.bias


def create_meta(
    arch: str, models: int, findings: int, *, hidden_dim: int = 256, dropout: float = 0.2, **options: Any
) -> nn.Module:
    """A meta-learner of `arch` (convex, mlp, linear or attention) for the logits of so many base `models` and
    `findings`, untrained.

    hidden_dim, dropout: of mlp and attention; the others have neither. options: init and inputs (see MetaLearner).
    """
    if arch in ("convex", "linear"):
        return {"convex": MetaConvex, "linear": MetaLinear}[arch](models, findings, **options)
    return {"mlp": MetaMLP, "attention": MetaAttention}[arch](models, findings, hidden_dim, dropout, **options)


def create_members(arch: str, models: int, findings: int, members: int, **options: Any) -> nn.Module:
    """So many meta-learners (`members`) of `models` base models as one model; of one, the meta-learner itself."""
    created = [create_meta(arch, models, findings, **options) for _ in range(members)]
    return created[0] if members == 1 else MeanLogits(created)


def load_meta(folder: Path) -> nn.Module:
    """The trained meta-learner in `folder` (models/meta), in evaluation mode, in float32."""

    def create(config: dict[str, Any]) -> nn.Module:
        models, findings = len(config["models"]), len(config["findings"])
        return create_members(config["arch"], models, findings, config["members"], **config["options"])

    return load_model(folder, create)


def apply_meta(model: nn.Module, logits: Tensor) -> Tensor:
    """The ensemble's logits [images, findings] for stacked base logits [images, models, findings]."""
    model.eval()
    with torch.inference_mode():
        return model(logits.float())
