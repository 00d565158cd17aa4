"""Networks and weights that others published: how params.yaml names them, and which state of them this machine has."""

import hashlib
from pathlib import Path

from diagxnet.data.files import content_hash
from diagxnet.data.members import CONFIG

HUB, FOLDER = "hf-hub:", "local-dir:"
"""What a published architecture's name begins with."""

WEIGHTS = (".safetensors", ".bin", ".pth", ".pth.tar")
"""Ends of the names of files that timm takes weights from."""


def folder_state(folder: Path, *, weights: bool) -> str:
    """MD5 of the config in `folder`, and of its `weights` where they are used; FileNotFoundError where it is not."""
    found = sorted(path for path in folder.iterdir() if weights and path.name.endswith(WEIGHTS))
    files = [folder / CONFIG, *found]
    listed = "".join(f"{path.name} {content_hash(path)}\n" for path in files if path.is_file())
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()


def local_state(arch: str, pretrained: bool | str) -> str | None:
    """What tells the files that a training begins with from others of their name: of a folder that is `arch` and of
    weights that are `pretrained`, each its MD5. None where names say all, as those of timm do and of a hub's commit.

    Raises FileNotFoundError where one is not on this machine.
    """
    states = []
    if arch.startswith(FOLDER):
        states.append(folder_state(Path(arch.removeprefix(FOLDER)), weights=pretrained is True))
    if isinstance(pretrained, str):
        states.append(content_hash(pretrained))
    return " ".join(states) or None
