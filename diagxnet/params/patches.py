"""What patches a vision transformer may have: known from its name and values alone, before anything is built."""

import re


def patch_side(arch: str, patch_size: int | None) -> int | None:
    """The side of a patch in pixels: `patch_size`, or what the name of `arch` says; None where neither tells."""
    named = re.search(r"(?:^|_)patch(\d+)(?:_|$)", arch)
    return patch_size or (int(named[1]) if named else None)


def patch_problems(
    arch: str, *, image_size: int, patch_size: int | None, stem: str, pretrained: bool | str
) -> list[str]:
    """One line for each reason why these do not go together; empty where they do, as far as is known.

    Patches fill the image without a rest. A convolutional stem halves the image down to a patch (a power of 2) and
    takes the place of pretrained patches.
    """
    patch = patch_side(arch, patch_size)
    problems = []
    if patch and image_size % patch:
        problems.append(
            f"patch_size = {patch_size}, arch = {arch!r}: patches of {patch} pixels do not fill images of {image_size} "
            f"(data.image_size must be a multiple)"
        )
    if stem == "convolutions" and pretrained:
        problems.append("stem = 'convolutions': pretrained weights are of patches (set it to patches)")
    if stem == "convolutions" and (patch is None or patch.bit_count() != 1):
        problems.append(
            f"stem = 'convolutions': needs a patch_size of 2, 4, 8, 16, 32 or 64, not {patch or 'null'} (or set it to "
            f"patches)"
        )
    return problems
