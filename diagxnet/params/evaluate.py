"""Section `evaluate`: how the test set is scored."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from diagxnet.params.checked import Section


def _rising(bounds: list[float]) -> list[float]:
    if sorted(set(bounds)) != bounds:
        raise ValueError("the bounds of bins must rise")
    return bounds


def _further(column: str) -> str:
    if column in ("row", "sex", "age", "view"):
        raise ValueError("is a group, or the row, as it is: call the column otherwise")
    return column


Further = Annotated[str, Field(min_length=1), AfterValidator(_further)]
Bounds = Annotated[list[float], Field(min_length=1, max_length=19), AfterValidator(_rising)]


class EvaluateParams(Section):
    """What `evaluate` reads."""

    unit: Literal["image", "study"] = Field(description="what is scored; a study's logit is the mean of its views'")
    bootstrap: int = Field(ge=100, le=100_000, description="resamples of patients for each interval")
    min_positives: int = Field(ge=1, le=1000, description="positives (and negatives) below which means lack a finding")
    prevalence: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        description="by finding: share of positives for which PPV and NPV are wanted, beside that of the test set"
    )
    subgroups: dict[Further, Literal["categories"] | Bounds] = Field(
        description="by further column of the table: categories, or the bounds between bins of its numbers"
    )
