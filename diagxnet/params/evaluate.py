"""Section `evaluate`: how the test set is scored."""

from typing import Annotated, Literal

from pydantic import Field

from diagxnet.params.checked import Section


class EvaluateParams(Section):
    """What `evaluate` reads."""

    unit: Literal["image", "study"] = Field(description="what is scored; a study's logit is the mean of its views'")
    bootstrap: int = Field(ge=100, le=100_000, description="resamples of patients for each interval")
    min_positives: int = Field(ge=1, le=1000, description="positives (and negatives) below which means lack a finding")
    prevalence: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        description="by finding: share of positives for which PPV and NPV are wanted, beside that of the test set"
    )
