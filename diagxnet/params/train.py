"""Section `train`: what both base models share."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from diagxnet.params.checked import Section


class TrainParams(Section):
    """What `train_densenet` and `train_vit` share; `train_meta` takes the loss, the optimizer and the clipping."""

    batch_size: int = Field(ge=1, le=4096, description="images per step and process")
    accumulation_steps: int = Field(ge=1, le=1024, description="steps whose gradients make one update")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(description="arithmetic of forward and backward")
    optimizer: Literal["adamw", "adam"] = Field(description="adamw decouples the weight decay")
    weight_decay: float = Field(ge=0, le=1, description="of DenseNet and the meta-learner; ViT has its own")
    loss: Literal["bce", "focal", "asymmetric"] = Field(description="per known label")
    label_smoothing: float = Field(ge=0, lt=1, description="a in target * (1 - a) + 0.5 * a")
    class_weights: Literal["balanced", "none"] = Field(description="weight of positives per finding")
    max_class_weight: float = Field(ge=1, le=1000, description="bound of the weight and of its inverse")
    max_grad_norm: float | None = Field(gt=0, description="L2 norm of all gradients; null: no clipping")
    ema: float | None = Field(gt=0, lt=1, description="decay of a moving average of the weights; null: none")
    average_best: int | None = Field(
        ge=2,
        description="validations of the best figure whose weights are averaged at the end, where val bears it out; "
        "instead of ema; null: the best alone",
    )
    sampling: Literal["uniform", "balanced"] = Field(description="balanced draws images with rare findings more often")
    sampling_factor: float = Field(ge=1, le=100, description="how many times as often at most, under balanced")
    best: Literal["loss", "auroc"] = Field(description="figure on val that the kept epoch and early stopping go by")
    min_delta: float = Field(ge=0, le=10, description="change of that figure that counts as better")
    val_every: int | None = Field(
        ge=1,
        description="updates from one validation to the next in an epoch, whose end is one, too; patience and plateau "
        "count validations; null: once an epoch",
    )
    num_workers: int = Field(ge=0, le=256, description="threads that gather batches ahead; 0: none")
    compile: bool = Field(description="torch.compile of the training step")
    sync_batch_norm: bool = Field(description="BatchNorm over the images of all processes, on CUDA alone")
    monitor: bool = Field(description="CPU, memory and GPU utilisation among the live curves")

    @field_validator("average_best")
    @classmethod
    def _check_averages(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("ema") is not None:
            raise ValueError("beside train.ema: one average (set one of the two to null)")
        return value
