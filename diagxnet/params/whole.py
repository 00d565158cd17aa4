"""All of params.yaml."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from diagxnet.console.errors import problems_error
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
from diagxnet.training.patches import patch_problems

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
    vit = checked["vit"].model_dump(include={"arch", "patch_size", "stem", "pretrained"})  # what train_vit would refuse
    problems = [
        f"{path.name}: vit.{problem}" for problem in patch_problems(**vit, image_size=checked["data"].image_size)
    ]
    if problems:
        raise problems_error(path.name, problems, "mend params.yaml or the -S that set it")
    return checked
