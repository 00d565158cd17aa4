"""Sections `densenet` and `vit`: the two base models."""

from typing import Literal

from pydantic import Field

from diagxnet.params.checked import Section


class BaseModelParams(Section):
    """One base model and its schedule."""

    arch: str = Field(min_length=1, description="name of a timm model")
    pretrained: bool | str = Field(description="true: timm's hub; path of a .safetensors file; false: from scratch")
    epochs: int = Field(ge=1, le=10_000, description="passes over train at the most")
    lr: float = Field(gt=0, le=10, description="learning rate; the peak where the scheduler is onecycle")
    dropout: float = Field(ge=0, lt=1, description="before the classifier")
    scheduler: Literal["plateau", "onecycle", "constant"] = Field(description="of the learning rate")
    plateau_factor: float = Field(gt=0, lt=1, description="of the learning rate when val stops improving")
    plateau_patience: int = Field(ge=0, le=10_000, description="epochs without improvement that plateau waits for")
    warmup: float = Field(ge=0, lt=1, description="share of all updates in which onecycle rises")
    patience: int | None = Field(ge=1, description="epochs without improvement until early stopping; null: never")


class DensenetParams(BaseModelParams):
    """DenseNet (Huang et al. 2017)."""


class VitParams(BaseModelParams):
    """Vision transformer (Dosovitskiy et al. 2021)."""

    patch_size: int | None = Field(ge=2, le=64, description="pixels; null: the architecture's own")
    stem: Literal["patches", "convolutions"] = Field(description="what makes tokens of an image")
    batch_norm: bool = Field(description="BatchNorm of the features before the classifier")
    weight_decay: float = Field(ge=0, le=1, description="transformers want more than train.weight_decay")
