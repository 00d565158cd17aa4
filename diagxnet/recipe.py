"""`python -m diagxnet.recipe NAME` prints a recipe as flags of `dvc exp run`, one token a line and none with a space:

    dvc exp run -n baseline $(python -m diagxnet.recipe baseline)

works in bash and in PowerShell. A recipe, recipes/NAME.yaml, holds what differs from params.yaml.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from diagxnet.console.errors import InputError
from diagxnet.params.checked import check, read_yaml
from diagxnet.params.whole import SECTIONS

RECIPES = Path("recipes")


def read_recipe(name: str, folder: Path = RECIPES) -> dict[str, Any]:
    """The recipe's values by dotted key (`meta.hidden_dim`); InputError where there is none of that name."""
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise InputError(f"no recipe {name!r}; known: {', '.join(known) or 'none (run from the repository root)'}")
    return dict(_leaves(read_yaml(folder / f"{name}.yaml")))


def check_recipe(values: dict[str, Any], params: dict[str, Any], name: str) -> dict[str, Any]:
    """The checked sections of `params` (content of params.yaml) with `values` by dotted key in their places.

    Raises InputError where a key is not in `params` or a value is out of its range.
    """
    whole = json.loads(json.dumps(params))
    for key, value in values.items():
        *path, last = key.split(".")
        section = whole
        for part in path:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or last not in section:
            raise InputError(f"recipes/{name}.yaml: {key}: params.yaml has no such key")
        section[last] = value
    return check(whole, SECTIONS, f"recipes/{name}.yaml")


def flags(values: dict[str, Any]) -> list[str]:
    """`-S` and `key=value` in turn, as `dvc exp run` takes them."""
    tokens = []
    for key, value in values.items():
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        if any(character.isspace() for character in text):
            raise InputError(f"{key} = {text!r}: a recipe's value holds no space (dvc exp run -S takes none)")
        tokens += ["-S", f"{key}={text}"]
    return tokens


def _leaves(content: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in content.items():
        leaves += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return leaves


REFUSED = "--no-such-recipe"
"""Printed in the place of flags, for `dvc exp run $(python -m diagxnet.recipe NAME)` to refuse: without a word there it
would run what params.yaml holds."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m diagxnet.recipe", description="Prints a recipe as -S flags.")
    parser.add_argument("name", help="a file in recipes/, without .yaml")
    try:
        name = parser.parse_args().name
        values = read_recipe(name)
        check_recipe(values, read_yaml(Path("params.yaml")), name)
        print("\n".join(flags(values)))
    except InputError as error:
        print(f"recipe: {error}", file=sys.stderr)
        print(REFUSED)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
