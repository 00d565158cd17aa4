"""Section `data`: where the radiographs are, what their labels mean, how patients are split."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from diagxnet.data.findings import Findings
from diagxnet.params.checked import Section

Rule = Literal["ignore", "zeros", "ones", "lsr_ones", "lsr_zeros"]
"""For a label of -1 (Irvin et al. 2019, section 3; Pham et al. 2021 for the lsr rules)."""


def _findings(names: list[str]) -> list[str]:
    """`names`, which are findings of one data set; ValueError where they are none."""
    Findings(tuple(names))
    return names


class SharesParams(Section):
    """Shares of patients, each in (0, 1)."""

    val: float = Field(gt=0, lt=1, description="share of train.csv's patients for val, where valid.csv is not val")
    stack: float = Field(gt=0, lt=1, description="share of train.csv's patients for stack")
    test: float = Field(gt=0, lt=1, description="share of all patients for test, where no table is the test set")

    @model_validator(mode="after")
    def _train_keeps_a_share(self) -> "SharesParams":
        if self.val + self.stack >= 1:
            raise ValueError(f"val + stack must be below 1, so that train keeps a share; got {self.val + self.stack:g}")
        return self


class ColumnsParams(Section):
    """What the columns of the tables are called; CheXpert's names may be absent, but for the path."""

    path: str = Field(min_length=1, description="the image, below data.root; a release's name before it falls away")
    patient: str | None = Field(
        min_length=1, description="names the patient; null: the path; the path's column: each image is of another"
    )
    study: str | None = Field(min_length=1, description="names the study; null: the path")
    view: str | None = Field(
        min_length=1, description="Frontal, Lateral, AP, PA, LL or RL; null: the files' names; frontal: all images are"
    )
    projection: str | None = Field(min_length=1, description="AP, PA, LL or RL; null: none")
    sex: str | None = Field(min_length=1, description="null: none")
    age: str | None = Field(min_length=1, description="years; null: none")
    ignored: list[str] = Field(description="columns that are not read")


class DataParams(Section):
    """What `inventory`, `pack` and `prepare` read."""

    root: str = Field(min_length=1, description="folder of train.csv and, optionally, valid.csv")
    test: str | None = Field(
        min_length=1,
        description="table of a test set of its own, below root or absolute; valid.csv is val then",
    )
    linked: str | None = Field(min_length=1, description="folder outside it that links in it may lead to")
    columns: ColumnsParams = Field(description="columns of the tables")
    findings: Annotated[list[str], AfterValidator(_findings)] = Field(
        description="the label columns, in the order of every model's outputs"
    )
    hierarchy: Literal["off", "labels", "conditional"] = Field(
        description="what training and prediction make of findings that include others"
    )
    parents: dict[str, str] = Field(description="parent by child, by key; empty: CheXpert's, of its findings")
    image_size: int = Field(ge=32, le=1024, description="side in pixels of the packed square images")
    crop: Literal["guide", "pad", "stretch"] = Field(description="what of a film becomes the square")
    views: Literal["frontal", "lateral", "all"] = Field(description="views in use")
    uncertain: dict[str, Rule] = Field(
        description="rule for a label of -1 in train and stack, by finding; of one that is not named: ignore"
    )
    blank: Literal["negative", "ignore"] = Field(description="what a blank label (not mentioned) means")
    split_seed: int = Field(ge=0, le=2**32 - 1, description="assigns patients to splits and draws the lsr targets")
    shares: SharesParams = Field(description="shares of patients")
    max_patients: int | None = Field(ge=10, description="subset of train.csv's patients for a trial; null: all")
    bad_images: Literal["stop", "drop"] = Field(description="an image that cannot be read")
