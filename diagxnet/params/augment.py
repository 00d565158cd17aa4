"""Section `augment`: what training does to an image before the model sees it."""

from pydantic import Field

from diagxnet.params.checked import Section


class AugmentParams(Section):
    """Ranges of the random draws; 0 turns one off."""

    rotation: float = Field(ge=0, le=180, description="degrees, drawn from -rotation to rotation")
    translation: float = Field(ge=0, le=0.5, description="share of the side, both directions")
    scale: float = Field(ge=0, lt=1, description="factor drawn from 1 - scale to 1 + scale")
    flip: float = Field(ge=0, le=1, description="probability of a mirrored image")
    contrast: float = Field(ge=0, lt=1, description="factor drawn from 1 - contrast to 1 + contrast")
