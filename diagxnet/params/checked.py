"""Reading params.yaml: strict YAML, strict types, and one line for each mistake.

A stage reads only the sections that it uses, and so depends only on their modules; `inventory` reads all of them
(`diagxnet.params.whole`) on every run, so that a mistake anywhere ends the run before any work.
"""

import difflib
import re
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, ClassVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from diagxnet.console.errors import InputError, one_line, problems_error


class Section(BaseModel):
    """Base of every section: unknown keys are refused, types are strict, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """Safe YAML whose numbers and truths follow YAML 1.2, as DVC's do (`1e-4` is a number, `off` a word), and that
    refuses a key given twice and aliases: a few of them in one another stand for more values than memory holds."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in own if tag != "tag:yaml.org,2002:bool"]
        for first, own in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not taken: write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def parse(text: str, name: str) -> dict[str, Any]:
    """The mapping that YAML `text` holds; InputError naming `name` and the line where it is no valid YAML."""
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{name}{line}: {error.problem} (mend the YAML there)") from None
    except yaml.YAMLError as error:
        raise InputError(f"{name}: {one_line(error)} (mend the YAML there)") from None
    if not isinstance(content, dict):
        raise InputError(f"{name}: holds no sections (restore the file from git: git checkout {name})")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file `path`; InputError where the file is missing, not UTF-8 or not valid YAML."""
    try:
        return parse(path.read_text(encoding="utf-8"), path.name)
    except FileNotFoundError:
        raise InputError(f"{path.name}: no such file here (run from the repository's root)") from None
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: is not UTF-8 text (save it as UTF-8)") from None


def read_params(path: str | Path = "params.yaml", **sections: Any) -> SimpleNamespace:
    """Reads and checks the named sections of params.yaml.

    `read_params(data=DataParams, seed=Seed)` returns an object with `.data` and `.seed`. A section is a `Section`
    or any other type that pydantic knows. Raises InputError with one line for each mistake.
    """
    path = Path(path)
    content = read_yaml(path)
    missing = [f"{name}: is missing" for name in sections if name not in content]
    if missing:
        raise problems_error(path.name, [f"{path.name}: {problem}" for problem in missing], "restore the section")
    return SimpleNamespace(**check({name: content[name] for name in sections}, sections, path.name))


def check(content: dict[str, Any], sections: dict[str, Any], name: str) -> dict[str, Any]:
    """Checks each section of `content` against its model; InputError with one line for each mistake."""
    from pydantic import TypeAdapter

    checked, problems = {}, []
    for section, model in sections.items():
        try:
            checked[section] = TypeAdapter(model).validate_python(content[section])
        except ValidationError as error:
            problems += [f"{name}: {_explain(section, model, each)}" for each in error.errors()]
    if problems:
        raise problems_error(name, problems, "mend params.yaml or the -S that set it")
    return checked


def _explain(section: str, model: Any, error: dict[str, Any]) -> str:
    parts = [part for part in error["loc"] if not (isinstance(part, str) and re.search(r"[\[\]()-]", part))]
    parts = [part for part in parts if part not in ("bool", "str", "int", "float", "none")]
    key = ".".join(str(part) for part in (section, *parts))
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, parts[:-1])
        near = difflib.get_close_matches(str(parts[-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{key}: is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = re.sub(r"^Input should be ", "must be ", message)
    return f"{key} = {error['input']!r}: {message}"


def _known_keys(model: Any, path: list[Any]) -> list[str]:
    for part in path:
        model = _section(model)
        model = get_args(model)[1] if get_origin(model) is dict else model.model_fields[part].annotation
    return list(_section(model).model_fields)


def _section(model: Any) -> Any:
    """`model` without the None that may stand for it."""
    kinds = [kind for kind in get_args(model) if kind is not NoneType] if get_origin(model) is UnionType else [model]
    return kinds[0]
