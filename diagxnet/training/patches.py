"""What patches a vision transformer may have: known from its name and values alone, before anything is built."""

import re


def is_transformer(arch: str) -> bool:
    """Whether timm's `arch` is a plain vision transformer, whose patches may be chosen and replaced by a stem."""
    return arch.startswith(("vit_", "deit", "beit", "eva"))


def patch_side(arch: str, patch_size: int | None) -> int | None:
    """The side of a patch in pixels: `patch_size`, or what the name of `arch` says; None where neither tells."""
    named = re.search(r"(?:^|_)patch(\d+)(?:_|$)", arch)
    return patch_size or (int(named[1]) if named else None)


def patch_problems(
    arch: str, *, image_size: int, patch_size: int | None, stem: str, pretrained: bool | str
) -> list[str]:
    """One line for each reason why these do not go together; empty where they do, as far as is known.

    Patches fill the image without a rest. A convolutional stem halves the image down to a patch (a power of 2) and
    takes the place of pretrained patches. Only a plain transformer has either.
    """
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
    if stem == "convolutions" and pretrained:
        problems.append("stem = 'convolutions': pretrained weights are of patches (set it to patches)")
    if stem == "convolutions" and (patch is None or patch.bit_count() != 1):
        problems.append(
            f"stem = 'convolutions': needs a patch_size of 2, 4, 8, 16, 32 or 64, not {patch or 'null'} (or set it to "
            f"patches)"
        )
    return problems
