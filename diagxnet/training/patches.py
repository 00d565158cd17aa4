"""What patches a vision transformer may have: known from its name and values alone, before anything is built."""

import re
from collections.abc import Mapping
from typing import Any

from diagxnet.training.published import FOLDER, HUB


def is_transformer(arch: str) -> bool:
    """Whether timm's `arch` is a plain vision transformer, whose patches may be chosen and replaced by a stem."""
    return arch.startswith(("vit_", "deit", "beit", "eva"))


def patch_side(arch: str, patch_size: int | None) -> int | None:
    """The side of a patch in pixels: `patch_size`, or what the name of `arch` says; None where neither tells."""
    named = re.search(r"(?:^|_)patch(\d+)(?:_|$)", arch)
    return patch_size or (int(named[1]) if named else None)


def own_patch(model_args: Mapping[str, Any]) -> int | None:
    """The side of a square patch in pixels that published `model_args` ask for; None where they do not."""
    side = model_args.get("patch_size")
    first, *others = side if isinstance(side, list | tuple) and side else [side]
    return first if isinstance(first, int) and first > 0 and all(each == first for each in others) else None


def patch_problems(
    arch: str, *, image_size: int, patch_size: int | None, stem: str, pretrained: bool | str
) -> list[str]:
    """One line for each reason why these do not go together; empty where they do, as far as is known.

    Patches fill the image without a rest. A convolutional stem halves the image down to a patch (a power of 2) and
    takes the place of pretrained patches. Only a plain transformer has either. Of a published architecture only the
    latter is known before its config is read.
    """
    replaced = ["stem = 'convolutions': pretrained weights are of patches (set it to patches)"]
    replaced = replaced if stem == "convolutions" and pretrained else []
    if arch.startswith((HUB, FOLDER)):  # whose names say nothing of patches
        return replaced
    if not is_transformer(arch):
        problems = [f"patch_size = {patch_size}: {arch} has none to choose (set it to null)"] if patch_size else []
        if stem == "convolutions":
            problems.append(f"stem = 'convolutions': {arch} is no plain vision transformer (set it to patches)")
        return problems
    patch = patch_side(arch, patch_size)
    problems = []
    if patch and image_size % patch:
        problems.append(
            f"patch_size = {patch_size or 'null'}, arch = {arch!r}: patches of {patch} pixels do not fill images of "
            f"{image_size} (data.image_size must be a multiple)"
        )
    problems += replaced
    if stem == "convolutions" and (patch is None or patch.bit_count() != 1):
        problems.append(
            f"stem = 'convolutions': needs a patch_size of 2, 4, 8, 16, 32 or 64, not {patch or 'null'} (or set it to "
            f"patches)"
        )
    return problems
