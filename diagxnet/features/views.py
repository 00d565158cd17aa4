"""Several views of each image at prediction: the image, and itself shifted a little, whose logits are averaged."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHIFT = 0.05
"""Of the side of an image: as far as `augment.translation` moves images in training by default."""

STEPS = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Down and right, in shifts: the image as it is, then its four neighbours, then the four diagonal ones."""


def views_of(images: Tensor, views: int) -> list[Tensor]:
    """The first `views` (1 to 9) of STEPS of `images` [images, 1, side, side]; edges repeat what a shift bares."""
    side = images.shape[-1]
    shift = max(1, round(SHIFT * side))
    padded = F.pad(images, (shift,) * 4, mode="replicate")
    starts = [(shift - down * shift, shift - right * shift) for down, right in STEPS[1:views]]
    return [images, *(padded[..., top : top + side, left : left + side] for top, left in starts)]


class Views(nn.Module):
    """`model`, averaged over so many `views` of its images [images, 1, side, side]: test-time augmentation."""

    def __init__(self, model: nn.Module, views: int) -> None:
        super().__init__()
        self.model, self.views = model, views

    def forward(self, images: Tensor) -> Tensor:
        if self.views == 1:
            return self.model(images)
        return torch.stack([self.model(view) for view in views_of(images, self.views)]).mean(0)
