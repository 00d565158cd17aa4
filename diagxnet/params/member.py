"""Sections `densenet`, `vit` and each of `more`: the members of the ensemble."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from diagxnet.params.checked import Section
from diagxnet.params.name import Name

Moments = Annotated[list[float], Field(min_length=2, max_length=2)]
"""Mean and deviation of images in 0..1."""


class MemberParams(Section):
    """One base model and its training. Only `arch` must be given: what is not has the default here."""

    arch: str = Field(
        min_length=1,
        description="name of a timm model; hf-hub:OWNER/NAME, on Hugging Face's hub in timm's form; local-dir:FOLDER, "
        "a copy of that",
    )
    pretrained: bool | str = Field(
        False,
        description="true: the weights of arch, which may be fetched; path of a file of weights (.safetensors, .pth); "
        "false: from scratch",
    )
    normalise: Literal["image", "pretrained"] | Moments = Field(
        "image",
        description="image: each at mean 0 and deviation 1; pretrained: by mean and deviation of the weights of arch; "
        "or [mean, deviation] of values in 0..1, as other weights want them",
    )
    patch_size: int | None = Field(None, ge=2, le=64, description="of a vision transformer, pixels; null: its own")
    stem: Literal["patches", "convolutions"] = Field(
        "patches", description="what makes a transformer's tokens of an image"
    )
    batch_norm: bool = Field(False, description="BatchNorm of a transformer's features before the classifier")
    seeds: int = Field(1, ge=1, le=100, description="networks, each from a seed of its own, whose logits are averaged")
    epochs: int = Field(10, ge=1, le=10_000, description="passes over train at the most")
    lr: float = Field(1e-3, gt=0, le=10, description="learning rate; the peak under onecycle and cosine")
    head_lr: float | None = Field(
        None,
        gt=0,
        le=10,
        description="of the classifier, which is no part of pretrained weights; scheduled as lr is; null: lr",
    )
    probe_epochs: int = Field(
        0,
        ge=0,
        description="of epochs: first the classifier alone learns, on frozen features, then all, by a whole schedule "
        "each; as many as epochs: the former alone",
    )
    weight_decay: float | None = Field(None, ge=0, le=1, description="null: train.weight_decay; transformers want more")
    dropout: float = Field(0.0, ge=0, lt=1, description="before the classifier")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth, where the architecture has blocks to skip")
    grad_checkpointing: bool = Field(
        False,
        description="computes activations anew in the backward pass rather than keeping them: less memory, a third "
        "more time; BatchNorm's running moments move twice a step",
    )
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="of lr, layer by layer down from the classifier; norms do not decay then; null: one lr",
    )
    scheduler: Literal["plateau", "onecycle", "cosine", "constant"] = Field(
        "onecycle", description="of the learning rate"
    )
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="of the learning rate when val stops improving")
    plateau_patience: int = Field(2, ge=0, le=10_000, description="epochs without improvement that plateau waits for")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of all updates in which onecycle or cosine rises")
    patience: int | None = Field(5, ge=1, description="epochs without improvement until early stopping; null: never")

    @model_validator(mode="after")
    def _check_moments(self) -> "MemberParams":
        if self.normalise == "pretrained" and not self.pretrained:
            raise ValueError("normalise = 'pretrained': there are no pretrained weights (set it to image)")
        if isinstance(self.normalise, list) and self.normalise[1] <= 0:
            raise ValueError(f"normalise = {self.normalise}: the deviation must be above 0")
        return self

    @model_validator(mode="after")
    def _check_probe(self) -> "MemberParams":
        if self.probe_epochs > self.epochs:
            raise ValueError(f"probe_epochs = {self.probe_epochs}: there are {self.epochs} epochs (lower it)")
        return self


MoreParams = dict[Name, MemberParams]
"""Section `more`: any further members by name."""
