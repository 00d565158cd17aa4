"""All of params.yaml."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from diagxnet.console.errors import problems_error
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.findings import Findings, key_of
from diagxnet.data.hierarchy import Hierarchy
from diagxnet.data.members import FIRST, MORE, TABLES
from diagxnet.params.augment import AugmentParams
from diagxnet.params.checked import check, read_yaml
from diagxnet.params.data import DataParams
from diagxnet.params.demo import DemoParams
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.params.member import MemberParams, MoreParams
from diagxnet.params.meta import MetaParams
from diagxnet.params.seed import Seed
from diagxnet.params.stack import StackParams
from diagxnet.params.tables import TablesParams
from diagxnet.params.train import TrainParams
from diagxnet.training.patches import patch_problems

SECTIONS: dict[str, Any] = {
    "seed": Seed,
    "launch": Annotated[
        str,
        Field(
            min_length=1,
            description="starts trainings and stack_features: python, or accelerate launch",
        ),
    ],
    "demo": DemoParams,
    "data": DataParams,
    "augment": AugmentParams,
    "train": TrainParams,
    "densenet": MemberParams | None,
    "vit": MemberParams | None,
    "more": MoreParams,
    "tables": Annotated[
        TablesParams, Field(description="members that are tables of predictions (docs/members.md): their files by name")
    ],
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
    problems = _member_problems(checked) + _finding_problems(checked)
    if problems:
        raise problems_error(
            path.name, [f"{path.name}: {problem}" for problem in problems], "mend params.yaml or the -S that set it"
        )
    return checked


def _finding_problems(checked: dict[str, Any]) -> list[str]:
    """Keys by finding that name none; a rule for -1 may be of one of CheXpert's that is not in use."""
    findings = Findings(tuple(checked["data"].findings))
    known = {"data.uncertain": {*findings.keys, *CHEXPERT.keys}, "evaluate.prevalence": {*findings.keys}}
    given = {"data.uncertain": checked["data"].uncertain, "evaluate.prevalence": checked["evaluate"].prevalence}
    problems = []
    for section, keys in known.items():
        for key in sorted(given[section].keys() - keys):
            try:
                findings.named(key)
                hint = f"must be written {key_of(key)}"
            except ValueError as error:
                hint = str(error)
            problems.append(f"{section}.{key}: {hint}")
    try:
        Hierarchy.of(checked["data"].hierarchy, findings.keys, checked["data"].parents)
    except ValueError as error:
        problems.append(str(error))
    return problems


def _member_problems(checked: dict[str, Any]) -> list[str]:
    """What the training of a member would refuse after hours of others, as far as params tell."""
    members = {name: checked[name] for name in FIRST if checked[name] is not None}
    members |= {f"{MORE}.{name}": own for name, own in checked[MORE].items()}
    problems = []
    for name, own in members.items():
        asked = own.model_dump(include={"arch", "patch_size", "stem", "pretrained"})
        found = patch_problems(**asked, image_size=checked["data"].image_size)
        problems += [f"{name}.{problem}" for problem in found]
    problems += [
        f"{TABLES}.{name}: {MORE} has a member of that name" for name in checked[TABLES] if name in checked[MORE]
    ]
    return problems or ([] if members else [f"{', '.join(FIRST)} are null and {MORE} is empty: no base model is left"])
