"""Section `demo`: the drawn data set."""

from pydantic import Field

from diagxnet.params.checked import Section


class DemoParams(Section):
    """What `make_demo` draws."""

    images: int = Field(ge=100, le=1_000_000, description="rows of the drawn train.csv")
    test_images: int = Field(ge=50, le=1_000_000, description="rows of the drawn valid.csv, the test set")
    size: int = Field(ge=64, le=4096, description="height in pixels; the width is 390/320 of it, as in CheXpert-small")
    seed: int = Field(ge=0, le=2**32 - 1, description="draws patients, signs and labels")
