"""Section `meta`: the meta-learner."""

from typing import Literal, get_args

from pydantic import Field, model_validator

from diagxnet.params.checked import Section

HEADS = 4
"""Of attention (stacking.learners.MetaAttention.HEADS, a test compares them); `params` imports no torch."""

Arch = Literal["mlp", "convex", "linear", "attention"]
ARCHS = get_args(Arch)
NETWORKS = tuple(arch for arch in ARCHS if arch != "convex")
"""Those of ARCHS that learn a correction."""


class MetaParams(Section):
    """What `train_meta` reads."""

    arch: Arch = Field(description="see diagxnet.stacking.learners")
    init: Literal["average", "random"] = Field(
        description="average: a weighted mean of the base logits, and a network's correction where it helps"
    )
    inputs: Literal["logits", "probabilities"] = Field(description="what the meta-learner is given of the base models")
    ensemble_seeds: int = Field(ge=1, le=1000, description="meta-learners whose logits are averaged")
    hidden_dim: int = Field(
        ge=2, le=65536, description="mlp: first hidden layer, the second has half; attention: width"
    )
    dropout: float = Field(ge=0, lt=1, description="mlp: after each hidden layer; attention: after the attention")
    epochs: int = Field(ge=1, le=10_000, description="passes over stack at the most")
    lr: float = Field(gt=0, le=10, description="learning rate")
    batch_size: int = Field(ge=1, le=65536, description="images per update")
    scheduler: Literal["plateau", "onecycle", "cosine", "constant"] = Field(description="of the learning rate")
    plateau_factor: float = Field(gt=0, lt=1, description="of the learning rate when val stops improving")
    plateau_patience: int = Field(ge=0, le=10_000, description="epochs without improvement that plateau waits for")
    warmup: float = Field(ge=0, lt=1, description="share of all updates in which onecycle or cosine rises")
    patience: int | None = Field(ge=1, description="epochs without improvement until early stopping; null: never")

    @model_validator(mode="after")
    def _check_convex(self) -> "MetaParams":
        if self.arch == "convex" and self.init == "random":
            raise ValueError("init = 'random': meta.arch = 'convex' has no network (choose average, or another arch)")
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> "MetaParams":
        if self.arch == "attention" and self.hidden_dim % HEADS:
            raise ValueError(
                f"hidden_dim = {self.hidden_dim}: attention has {HEADS} heads (choose a multiple of {HEADS})"
            )
        return self
