"""What dvc.yaml says of the stages, and dvc.lock of the run: what each reads, and what its files held."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from diagxnet.audit.claims import Pipeline
from diagxnet.console.errors import InputError
from diagxnet.data.files import content_hash
from diagxnet.data.members import MORE, TABLES
from diagxnet.params.checked import read_yaml

MAKERS = ("train_densenet", "train_vit", "stack_features", "train_meta")
"""Stages that make the models and the logits."""

FURTHER = {"train": MORE, "read_table": TABLES}
"""Stages of further members, by the section of params.yaml that names them."""

MEMBERS = "models/more/members.json"
"""Who the members are, and the state of their files of weights."""

FOLDERS = ("models/", "data/stacked", "data/prepared", "data/ensemble_val.npz")
"""Of what they read and write, what is compared; data/packed/images.npy, gigabytes large, is left to DVC."""


def pipeline() -> Pipeline:
    """Reads dvc.yaml and dvc.lock in the current folder; InputError where one is missing or lacks a stage."""
    # the repository's own file, with anchors, which read_yaml takes from nobody
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    recorded = read_lock(Path("dvc.lock"))
    reads = {name: {_path(entry) for entry in stage.get("do", stage).get("deps", ())} for name, stage in stages.items()}
    changed = set()
    params = read_yaml(Path("params.yaml"))
    further = [f"{stage}@{member}" for stage, section in FURTHER.items() for member in params[section]]
    for name in (*MAKERS, *further):
        if name not in recorded:
            raise InputError(f"dvc.lock: has no record of {name} (run: dvc repro)")
        compared = {path: md5 for path, md5 in recorded[name].items() if path.startswith(FOLDERS)}
        changed |= {path for path, md5 in compared.items() if _hash(Path(path)) != md5}
    return Pipeline(reads, changed)


def read_lock(path: Path) -> dict[str, dict[str, str]]:
    """By stage the MD5 of what it read and wrote on this machine; InputError where DVC did not write the file so."""
    with _reading(path):
        stages = read_yaml(path).get("stages", {})
        return {
            name: {
                entry["path"]: entry["md5"]
                for entry in (*own.get("deps", ()), *own.get("outs", ()))
                if "://" not in entry["path"]
            }
            for name, own in stages.items()
        }


def weights_of(path: Path, section: str, arch: str, pretrained: bool | str) -> str | None:
    """What dvc.lock (`path`) has of the files of weights of a member that was trained with this `arch` and `pretrained`
    (see published.local_state); None where there is no such training. section: the member's, in params.yaml."""
    if not path.is_file():
        return None
    name = section.removeprefix(f"{MORE}.")
    stage = f"train_{name}" if name == section else f"train@{name}"
    with _reading(path):
        params = read_yaml(path).get("stages", {}).get(stage, {}).get("params", {})
        own = params.get("params.yaml", {}).get(section) or {}
        same = (own.get("arch"), own.get("pretrained", False)) == (arch, pretrained)
        return params.get(MEMBERS, {}).get(f"weights.{name}") if same else None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{path}: is not as DVC writes it (take it back: git checkout {path}; or dvc repro)") from None


def _path(entry: str | dict[str, Any]) -> str:
    return entry if isinstance(entry, str) else next(iter(entry))


def _hash(path: Path) -> str | None:
    """The hash that DVC gives a file or folder (a folder's is of its files' names and hashes); None if it is gone."""
    if path.is_file():
        return content_hash(path)
    if not path.is_dir():
        return None
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    listed = json.dumps([{"md5": content_hash(file), "relpath": name} for name, file in files], sort_keys=True)
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"
