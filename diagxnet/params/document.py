"""docs/params.md: every param with its value, what it may be, and what it means. `python -m diagxnet.params.document`
prints it; a test compares it with the file."""

import types
from copy import copy
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from diagxnet.data.members import FIRST, MORE
from diagxnet.params.checked import read_yaml
from diagxnet.params.member import MemberParams
from diagxnet.params.whole import SECTIONS

START = """# Params

Every hyperparameter, made by `python -m diagxnet.params.document` from the models that check `params.yaml`. "Value" is
the one in `params.yaml`, whose comments say what the guide has. Change a value there, or for one experiment with
`dvc exp run -S KEY=VALUE`; an unknown key, a wrong type or a value out of range ends the run by name before any work.
"""


FURTHER = """Any further members by name: `dvc exp run -S '+more.convnext={arch: convnext_tiny}'`, or the same in the
file. "Value" is what a key has that is not given; `densenet` and `vit` take each of these keys, too, and null leaves
one of them out.
"""


def document(content: dict[str, Any]) -> str:
    """The page as Markdown. content: of params.yaml."""
    parts = [START]
    sections = {key: (MemberParams if key in (*FIRST, MORE) else kind) for key, kind in SECTIONS.items()}
    alone = {key: kind for key, kind in sections.items() if not _is_section(kind)}
    parts.append(_table("", [(key, FieldInfo.from_annotation(kind)) for key, kind in alone.items()], content))
    for key, section in sections.items():
        if key == MORE:
            parts.append(f"## {key}\n\n{FURTHER}")
            parts.append(_table(f"{key}.NAME.", _fields(section), {}))
        elif key not in alone:
            own = {name: field for name, field in _fields(section) if name.split(".")[0] in content[key]}
            parts.append(f"## {key}\n\n{_first_line(section)}\n")
            parts.append(_table(f"{key}.", list(own.items()), content[key]))
    return "\n".join(parts)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _first_line(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _fields(section: type[BaseModel], prefix: str = "", meaning: str | None = None) -> list[tuple[str, FieldInfo]]:
    """Dotted name and field of every leaf; one without a description has that of the field around it."""
    leaves = []
    for name, field in section.model_fields.items():
        if _is_section(field.annotation):
            leaves += _fields(field.annotation, f"{prefix}{name}.", field.description)
        else:
            own = copy(field)  # the model keeps its own
            own.description = field.description or meaning
            leaves.append((f"{prefix}{name}", own))
    return leaves


def _table(prefix: str, fields: list[tuple[str, FieldInfo]], content: dict[str, Any]) -> str:
    lines = ["| key | value | may be | what it is |", "|---|---|---|---|"]
    for name, field in fields:
        value: Any = content
        for part in name.split("."):
            value = value[part] if content else field.default
        written = "must be given"
        if value is not PydanticUndefined:
            written = f"`{yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}`"
        lines.append(f"| `{prefix}{name}` | {written} | {_allowed(field)} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def _allowed(field: FieldInfo) -> str:
    """The values that a field takes, in words."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, types.UnionType) else ()
    texts = [_kind(kind, field) for kind in kinds or (field.annotation,) if kind is not types.NoneType]
    return ", ".join([*texts, *(["null"] if types.NoneType in kinds else [])])


def _kind(kind: Any, field: FieldInfo) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    if kind is bool:
        return "true, false"
    if kind is str:
        return "text"
    bounds = {type(bound): bound for bound in field.metadata}
    low = f"{bounds[Ge].ge:,}" if Ge in bounds else f"above {bounds[Gt].gt:,}" if Gt in bounds else ""
    high = f"{bounds[Le].le:,}" if Le in bounds else f"below {bounds[Lt].lt:,}" if Lt in bounds else ""
    span = f"{low} to {high}" if low and high else f"at least {low}" if Ge in bounds else low or high
    return f"{'whole number' if kind is int else 'number'}, {span}".replace("to below", "to less than")


if __name__ == "__main__":
    print(document(read_yaml(Path("params.yaml"))), end="")
