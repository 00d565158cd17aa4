"""docs/params.md: every param with its value, what it may be, and what it means. `python -m diagxnet.params.document`
prints it; a test compares it with the file."""

import types
from collections import Counter
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

Every hyperparameter, made by `python -m diagxnet.params.document` of `params.yaml` and the models that check it. Change
a value there, or for one experiment with `dvc exp run -S KEY=VALUE`. An unknown key, a wrong type or a value out of
range ends the run by name before any work.
"""


MEMBERS = """## densenet, vit, more

The members of the ensemble: `densenet.KEY`, `vit.KEY`, and `more.NAME.KEY` for any further ones, of which only `arch`
must be given: `dvc exp run -S '+more.convnext={arch: convnext_tiny}'`, or the same in the file. Each member takes each
key (`++` sets one that is not in the file); `-S vit=null` leaves one of the first two out.
"""


def document(content: dict[str, Any]) -> str:
    """The page as Markdown. content: of params.yaml."""
    alone = {key: kind for key, kind in SECTIONS.items() if not _is_section(kind) and key not in (*FIRST, MORE)}
    fields = [(key, FieldInfo.from_annotation(kind)) for key, kind in alone.items()]
    parts = [START, _table("", fields, {"value": content})]
    for key, section in SECTIONS.items():
        if key == FIRST[0]:
            given = {name: content[name] for name in FIRST} | {"others": {}}
            parts += [MEMBERS, _table("", _fields(MemberParams), given)]
        elif key not in (*alone, *FIRST, MORE):
            parts.append(f"## {key}\n\n{_first_line(section)}\n")
            parts.append(_table(f"{key}.", _fields(section), {"value": content[key]}))
    return "\n".join(parts)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _first_line(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _fields(section: type[BaseModel], prefix: str = "") -> list[tuple[str, FieldInfo]]:
    """Dotted name and field of every leaf. Fields that the field around them describes stand together as that one."""
    leaves = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if not _is_section(inner):
            leaves.append((f"{prefix}{name}", field))
        elif any(own.description for own in inner.model_fields.values()):
            leaves += _fields(inner, f"{prefix}{name}.")
        else:
            together = copy(next(iter(inner.model_fields.values())))  # the model keeps its own
            together.description = field.description
            leaves.append((f"{prefix}{name}", together))
    return leaves


def _table(prefix: str, fields: list[tuple[str, FieldInfo]], values: dict[str, dict[str, Any]]) -> str:
    """A row a field. values: a column each, of a section of params.yaml; what one lacks has its default."""
    lines = [f"| key | {' | '.join(values)} | may be | what it is |", "|---|" + "---|" * len(values) + "---|---|"]
    for name, field in fields:
        written = " | ".join(_written(name, field, content) for content in values.values())
        lines.append(f"| `{prefix}{name}` | {written} | {_allowed(field)} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def _written(name: str, field: FieldInfo, content: dict[str, Any]) -> str:
    value: Any = content
    for part in name.split("."):
        value = value.get(part, field.default)
    if isinstance(value, dict) and value:
        common, _ = Counter(value.values()).most_common(1)[0]
        others = [f"`{key}: {own}`" for key, own in value.items() if own != common]
        return ", ".join([f"`{common}`", *others])
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return "must be given" if value is PydanticUndefined else f"`{yaml.safe_dump(value).splitlines()[0]}`"


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
    if get_origin(kind) is dict:
        return f"map; each {_allowed(FieldInfo.from_annotation(get_args(kind)[1]))}"
    if kind is str:
        return "text"
    if get_origin(FieldInfo.from_annotation(kind).annotation) is list:
        inner = FieldInfo.from_annotation(get_args(FieldInfo.from_annotation(kind).annotation)[0])
        return "list of numbers" if inner.annotation is float else f"list; each {_allowed(inner)}"
    bounds = {type(bound): bound for bound in field.metadata}
    low = f"{bounds[Ge].ge:,}" if Ge in bounds else f"above {bounds[Gt].gt:,}" if Gt in bounds else ""
    high = f"{bounds[Le].le:,}" if Le in bounds else f"below {bounds[Lt].lt:,}" if Lt in bounds else ""
    span = f"{low} to {high}" if low and high else f"at least {low}" if Ge in bounds else low or high
    return f"{'whole number' if kind is int else 'number'}, {span}".replace("to below", "to less than")


if __name__ == "__main__":
    print(document(read_yaml(Path("params.yaml"))), end="")
