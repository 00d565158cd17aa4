"""All of params.yaml."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from diagxnet.errors import problems_error
from diagxnet.params.augment import AugmentParams
from diagxnet.params.base import DensenetParams, VitParams
from diagxnet.params.checked import check, read_yaml
from diagxnet.params.data import DataParams
from diagxnet.params.demo import DemoParams
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.params.meta import MetaParams
from diagxnet.params.seed import Seed
from diagxnet.params.stack import StackParams
from diagxnet.params.train import TrainParams

SECTIONS: dict[str, Any] = {
    "seed": Seed,
    "launch": Annotated[
        str, Field(min_length=1, description="command that starts a training stage: python, or accelerate launch")
    ],
    "demo": DemoParams,
    "data": DataParams,
    "augment": AugmentParams,
    "train": TrainParams,
    "densenet": DensenetParams,
    "vit": VitParams,
    "stack": StackParams,
    "meta": MetaParams,
    "evaluate": EvaluateParams,
}
"""Top-level keys of params.yaml, in its order, with what each must be."""


def read_all(path: str | Path = "params.yaml") -> dict[str, Any]:
    """Checks the whole file; InputError with one line for each mistake: unknown keys, wrong types, bad ranges."""
    path = Path(path)
    content = read_yaml(path)
    problems = [
        f"{path.name}: {key}: unknown key; known here: {', '.join(SECTIONS)}" for key in content if key not in SECTIONS
    ]
    problems += [f"{path.name}: {key}: is missing" for key in SECTIONS if key not in content]
    if problems:
        raise problems_error(path.name, problems, "mend params.yaml")
    checked = check(content, SECTIONS, path.name)
    problems = [f"{path.name}: {problem}" for problem in _vit_problems(checked["vit"], checked["data"].image_size)]
    if problems:
        raise problems_error(path.name, problems, "mend params.yaml or the -S that set it")
    return checked


def _vit_problems(vit: VitParams, image_size: int) -> list[str]:
    """What train_vit would refuse, hours later than it can be known: `models.base` has the last word, and timm."""
    named = re.search(r"(?:^|_)patch(\d+)(?:_|$)", vit.arch)
    patch = vit.patch_size or (int(named[1]) if named else None)
    problems = []
    if patch and image_size % patch:
        problems.append(
            f"vit.patch_size = {vit.patch_size}, vit.arch = {vit.arch!r}: patches of {patch} pixels do not fill images "
            f"of {image_size} (data.image_size must be a multiple)"
        )
    if vit.stem == "convolutions" and vit.pretrained:
        problems.append("vit.stem = 'convolutions': pretrained weights are of patches (set it to patches)")
    if vit.stem == "convolutions" and patch and patch.bit_count() != 1:
        problems.append(f"vit.stem = 'convolutions': needs a patch_size of 2, 4, 8, 16, 32 or 64, not {patch}")
    return problems
