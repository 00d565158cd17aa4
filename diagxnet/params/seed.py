"""Top-level `seed`."""

from typing import Annotated

from pydantic import Field

Seed = Annotated[
    int, Field(strict=True, ge=0, le=2**32 - 1, description="initial weights, order of the images, dropout, resamples")
]
"""Initial weights, order of the images, dropout, augmentation, resamples: all that `data` and `demo` leave."""
