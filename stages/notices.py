"""What DVC does not say and its user should know before a run: values that -S left, files an experiment leaves out.

Git is asked, and where there is none, or no commit yet, there is nothing to say.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

from diagxnet.console.errors import InputError
from diagxnet.data.members import MORE
from diagxnet.params.checked import parse

SHOWN = 8
CODE = ("diagxnet", "stages", "recipes")
QUEUED = (".dvc", "tmp", "exps")


def notices(params: dict[str, Any]) -> list[str]:
    """Lines on how this working copy differs from its last commit. params: content of params.yaml."""
    committed = _git("show", "HEAD:./params.yaml")
    untracked = _git("ls-files", "--others", "--exclude-standard", "--", *CODE)
    lines = _line("params.yaml differs from the last commit (what -S set stays)", _left(params, committed))
    lines += _line("not in git, so queued experiments lack (git add)", (untracked or "").splitlines())
    return lines


def sweep(models: Path, wanted: Collection[str]) -> list[str]:
    """Removes the further members below `models` that are not `wanted` any more; a line on each."""
    gone = [path for path in sorted((models / MORE).glob("*/")) if path.name not in wanted]
    for path in gone:
        shutil.rmtree(path)
    return [
        f"{path.as_posix()}: removed, as params.yaml names no such member any more (DVC keeps it in its cache)"
        for path in gone
    ]


def check_root(root: str, here: Path) -> None:
    """InputError where the shell's quotes or its ~ are still in `root`, or where a queued experiment, which runs in a
    copy of the repository, finds no folder there."""
    bare = root.strip("'\"")
    meant = os.path.expanduser(bare)
    if meant != root and not (here / root).is_dir():
        raise InputError(
            f"data.root = {root!r}: no such folder, as quotes and ~ in it are the shell's and mean nothing here (set "
            f'it without: python -m stages.configure "data.root={meant}")'
        )
    if Path(root).is_absolute() or (here / root).is_dir():
        return
    parts = here.parts
    if any(parts[start : start + len(QUEUED)] == QUEUED for start in range(len(parts))):
        raise InputError(
            f"data.root = {root!r} is relative, and a queued experiment runs in a copy of the repository, where that "
            "folder is not (queue it with the absolute path: -S data.root=/...)"
        )


def cache_notice(here: Path) -> list[str]:
    """A line where DVC's cache is below a path that is not ASCII: for --temp and queues DVC writes it as ASCII."""
    configs = [here / ".dvc" / name for name in ("config.local", "config")]
    moved = any(re.search(r"^\s*dir\s*=", each.read_text(encoding="utf-8"), re.M) for each in configs if each.is_file())
    if here.as_posix().isascii() or moved:
        return []
    return [
        f"{here} is not plain ASCII: dvc exp run --temp and queues would end in \"'ascii' codec can't encode\" (first: "
        "dvc cache dir --local /a/folder/in/ascii)"
    ]


def _left(params: dict[str, Any], committed: str | None) -> list[str]:
    """The changes since `committed`; none where that is missing or no params.yaml, which is no reason to stop a run."""
    if committed is None:
        return []
    try:
        return _changes(params, parse(committed, "params.yaml of the last commit"))
    except (InputError, ValueError):
        return []


def _line(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = f", and {len(items) - SHOWN:,} more" if len(items) > SHOWN else ""
    return [f"{title}: {', '.join(items[:SHOWN])}{more}"]


def _changes(new: dict[str, Any], old: dict[str, Any], prefix: str = "") -> list[str]:
    """Each leaf in which `new` is not `old`, with both values."""
    found = []
    for key in new | old:
        here, there = new.get(key), old.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            found += _changes(here, there, f"{prefix}{key}.")
        elif here != there:
            found.append(f"{prefix}{key} = {_shown(here)} (was {_shown(there)})")
    return found


def _shown(value: Any) -> str:
    """A value, or of a whole section its number of keys."""
    return f"a section of {len(value)}" if isinstance(value, dict) and value else str(value)


def _git(*arguments: str) -> str | None:
    """What git prints; None where it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, encoding="utf-8", errors="replace", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
