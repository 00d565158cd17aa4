"""Section `meta`: the meta-learner."""

from typing import Literal

from pydantic import Field

from diagxnet.params.checked import Section


class MetaParams(Section):
    """What `train_meta` reads."""

    arch: Literal["mlp"] = Field(description="mlp: logits of both models, two hidden layers, logits")
    init: Literal["average", "random"] = Field(description="average: starts at the mean of the base logits")
    hidden_dim: int = Field(ge=2, le=65536, description="width of the first hidden layer; the second has half")
    dropout: float = Field(ge=0, lt=1, description="after each hidden layer")
    epochs: int = Field(ge=1, le=10_000, description="passes over stack at the most")
    lr: float = Field(gt=0, le=10, description="learning rate")
    batch_size: int = Field(ge=1, le=65536, description="images per update")
    scheduler: Literal["plateau", "onecycle", "constant"] = Field(description="of the learning rate")
    plateau_factor: float = Field(gt=0, lt=1, description="of the learning rate when val stops improving")
    plateau_patience: int = Field(ge=0, le=10_000, description="epochs without improvement that plateau waits for")
    warmup: float = Field(ge=0, lt=1, description="share of all updates in which onecycle rises")
    patience: int | None = Field(ge=1, description="epochs without improvement until early stopping; null: never")
