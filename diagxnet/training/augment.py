"""Augmentation of a whole batch at once, on the device that holds it.

Each image's draws are hashes of (seed, epoch, row): they depend neither on the batch that the row is in, nor on its
place there, nor on the number of processes.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from diagxnet.data.draws import mix, uniform
from diagxnet.training.transfer import to_device

DRAWS = 6
"""An image's draws, in this order: angle, shift to the right, shift down, scale, flip, contrast."""

PIXELS_IN_CACHE = 2**18
"""On a CPU so many pixels a thread are augmented at a time: their intermediate results stay in its cache."""


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 [batch, 1, size, size] to float32 in [0, 1], as evaluation shows images to a model."""
    return images.to(torch.float32) / 255


def augment(
    images: torch.Tensor,
    rows: np.ndarray,
    *,
    rotation: float,
    translation: float,
    scale: float,
    flip: float,
    contrast: float,
    seed: int,
    epoch: int,
) -> torch.Tensor:
    """Draws another view of each image: float32 [batch, 1, size, size] in [0, 1], on the device of `images`.

    images: uint8 [batch, 1, size, size]. rows: [batch], each image's row in the packed file. rotation: degrees, the
    angle is drawn from [-rotation, rotation]. translation: share of the side, each direction drawn from [-translation,
    translation]. scale: the factor is drawn from [1 - scale, 1 + scale]. flip: probability of a mirrored image.
    contrast: the factor on the difference to the image's own mean, drawn from [1 - contrast, 1 + contrast]. All draws
    are uniform and come from (seed, epoch, row). With every range 0 the result is `to_float(images)` to the bit.

    Contrast comes first, then all of the geometry in one bilinear resampling. What comes in from outside is black, as
    radiographs are outside the collimated field.
    """
    draws = _draws(rows, seed, epoch)
    factors = to_device(_factors(draws, contrast), images.device) if contrast else None
    matrices = None
    if rotation or translation or scale or flip:
        matrices = _matrices(draws, rotation=rotation, translation=translation, scale=scale, flip=flip)
        matrices = to_device(matrices, images.device)
    result = torch.empty(images.shape, dtype=torch.float32, device=images.device)
    step = _images_at_a_time(images)
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        seen = to_float(images[part])
        if factors is not None:
            seen = _with_contrast(seen, factors[part])
        result[part] = seen if matrices is None else _resample(seen, matrices[part])
    return result


def _images_at_a_time(images: torch.Tensor) -> int:
    if images.device.type != "cpu":
        return max(1, len(images))
    return max(1, PIXELS_IN_CACHE // images[0].numel()) * torch.get_num_threads()


def _with_contrast(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Changes float `images` [batch, 1, size, size] in place: (image - mean) * factor + mean, within [0, 1]."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return images.mul_(factors).add_(mean * (1 - factors)).clamp_(0, 1)


def _resample(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Float images [batch, 1, size, size] through affine `matrices` [batch, 2, 3], as affine_grid and grid_sample do.

    The grid is made here, as two planes, for torch's affine_grid takes longer than the sampling.
    """
    size = images.shape[-1]
    centres = (torch.arange(size, dtype=torch.float32, device=images.device) * 2 + 1) / size - 1
    by_column = (matrices[:, :, 0:1] * centres).unsqueeze(2)  # [batch, 2, 1, size]
    by_row = (matrices[:, :, 1:2] * centres + matrices[:, :, 2:3]).unsqueeze(3)  # [batch, 2, size, 1]
    grid = (by_column + by_row).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False).clamp_(0, 1)


def _draws(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Uniform draws [batch, DRAWS] in [0, 1) from (seed, epoch, row, which)."""
    start = mix(np.uint64(epoch) ^ mix(np.uint64(seed)))
    each_row = mix(start ^ np.asarray(rows, dtype=np.uint64))
    return uniform(mix(each_row[:, None] ^ np.arange(DRAWS, dtype=np.uint64)))


def _factors(draws: np.ndarray, contrast: float) -> np.ndarray:
    """Contrast factors [batch, 1, 1, 1] float32."""
    return (1 + contrast * (2 * draws[:, 5] - 1)).astype(np.float32).reshape(-1, 1, 1, 1)


def _matrices(draws: np.ndarray, *, rotation: float, translation: float, scale: float, flip: float) -> np.ndarray:
    """Affine matrices [batch, 2, 3] float32 from output to input coordinates, both from -1 to 1 across the image."""
    spread = 2 * draws - 1
    angle = math.radians(rotation) * spread[:, 0]
    shift = 2 * translation * spread[:, 1:3]  # the whole side is 2 long in these coordinates
    shrink = 1 / (1 + scale * spread[:, 3])
    mirror = np.where(draws[:, 4] < flip, -1.0, 1.0)
    cosine, sine = np.cos(angle) * shrink, np.sin(angle) * shrink
    linear = np.stack([np.stack([mirror * cosine, mirror * sine], 1), np.stack([-sine, cosine], 1)], 1)
    offset = -np.einsum("bij,bj->bi", linear, shift)
    return np.concatenate([linear, offset[:, :, None]], axis=2).astype(np.float32)
