"""Sets values of params.yaml for good, recipes and single ones, in order, as they are written: no quotes within quotes.

    python -m stages.configure guide chexpert data.root="C:/My films/Röntgen (1)"

`dvc exp run -S` reads its values by Hydra's grammar, in which umlauts, brackets and commas want quotes of their own.
The file is checked first, and left as it was where a value is wrong. `+` may stand before a new key, as `-S` wants it;
`~more.NAME` takes a key away.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from dvc.utils.serialize import loads_yaml, modify_yaml
from ruamel.yaml import YAMLError

from diagxnet.console.errors import InputError, one_line
from diagxnet.data.files import write_text
from diagxnet.params.checked import read_yaml
from diagxnet.params.whole import read_all
from diagxnet.recipe import read_recipe
from stages.notices import notices
from stages.running import run

PARAMS = Path("params.yaml")
NO_TEXT = ("true", "false", "null")


def configure(words: list[str]) -> None:
    """Writes what `words` say into params.yaml of the current folder: a recipe's name, or `key=value` (dotted key).

    What is put in the place of text is text, but for true, false, null and a list for `normalise`; all else is read as
    YAML 1.2. Raises InputError for an unknown recipe or key, and for a value that `inventory` would refuse.
    """
    if not PARAMS.is_file():
        raise InputError(f"{PARAMS.absolute()}: no such file (run from the repository's root)")
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(shutil.copy(PARAMS, folder))
        with modify_yaml(draft) as content:
            for word in words:
                key, equals, value = word.partition("=")
                if word.startswith("~"):
                    _remove(content, key[1:])
                elif equals:
                    _put(content, key.lstrip("+"), value, as_text=True)
                else:
                    for path, new in read_recipe(word).items():
                        _put(content, path, new, as_text=False)
        read_all(draft)
        write_text(PARAMS, draft.read_text(encoding="utf-8"))


def _put(content: dict[str, Any], path: str, value: Any, *, as_text: bool) -> None:
    """Puts `value` under the dotted key `path`; as_text: it was typed, and is read by what stands there now."""
    section, last = _section(content, path)
    listed = last == "normalise" and value.startswith("[") if as_text else False
    if as_text and (value in NO_TEXT or listed or not isinstance(section.get(last), str)):
        try:
            value = loads_yaml(value)
        except YAMLError as error:
            raise InputError(f"{path}={value}: is no YAML: {one_line(error, 200)}") from None
    section[last] = value


def _remove(content: dict[str, Any], path: str) -> None:
    section, last = _section(content, path)
    if last not in section:
        raise InputError(f"~{path}: params.yaml has no such key")
    del section[last]


def _section(content: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """What holds the dotted key `path`, and its last part."""
    *sections, last = path.split(".")
    for name in sections:
        if not isinstance(content.get(name), dict):
            raise InputError(f"{path}: params.yaml has no {name} to set it in")
        content = content[name]
    return content, last


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.configure", description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="+", metavar="WORD", help="a recipe, or KEY=VALUE; later ones win")
    configure(parser.parse_args().words)
    print("\n".join(notices(read_yaml(PARAMS))) or "params.yaml is that of the last commit")


if __name__ == "__main__":
    run("configure", main, timed=False)
