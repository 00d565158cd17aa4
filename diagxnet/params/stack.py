"""Section `stack`: how the meta-learner comes by logits that no base model was fitted to."""

from typing import Literal

from pydantic import Field

from diagxnet.params.checked import Section


class StackParams(Section):
    """What `stack_features` reads."""

    method: Literal["holdout"] = Field(description="holdout: logits of the stack split")
    batch_size: int = Field(ge=1, le=65536, description="images per forward pass; no influence on the metrics")
