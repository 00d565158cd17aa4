"""Section `stack`: how the meta-learner comes by logits that no base model was fitted to."""

from typing import Literal

from pydantic import Field

from diagxnet.params.checked import Section


class StackParams(Section):
    """How many models of each kind there are, what each learns from, and how `stack_features` runs them."""

    method: Literal["holdout", "crossfit"] = Field(
        description="holdout: the base models learn on train, the meta-learner on stack; crossfit: both on train and "
        "stack, the meta-learner from out-of-fold logits"
    )
    folds: int = Field(ge=2, le=20, description="base models of each kind under crossfit")
    views: int = Field(
        ge=1, le=9, description="of an image, whose logits are averaged: itself, shifted to four sides, and diagonally"
    )
    batch_size: int = Field(ge=1, le=65536, description="images per forward pass; no influence on the metrics")
