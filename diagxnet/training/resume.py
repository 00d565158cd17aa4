"""The state of an unfinished training: saved each epoch, found again after a kill, gone when training ends well.

It lives in a folder that is no DVC output, as DVC deletes the outputs of a stage before it runs it.
"""

import ast
import hashlib
import importlib.metadata
import io
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

import diagxnet
from diagxnet.console.errors import InputError
from diagxnet.data.files import write_bytes

LAST, BEST = "last.pt", "best{}.pt"


PACKAGE = Path(diagxnet.__file__).parent
SAID = ("print", "accelerator.print", "progress.note", "progress.write", "self.progress.note", "self.progress.write")
"""Calls whose arguments are for people alone, as those of an error are."""


def fingerprint(rooms: Sequence[str], device: torch.device, **identity: Any) -> str:
    """Sixteen hex digits of everything that decides the bytes of a training: params, data, versions, and our code.

    rooms: the folders of this package that shape them, by what their modules do (see `shape`). device: where training
    runs; the number of threads decides on a CPU alone. identity: params and hashes of data.
    """
    whole = {
        "identity": identity,
        "code": {
            path.relative_to(PACKAGE).as_posix(): shape(path.read_text(encoding="utf-8"))
            for room in rooms
            for path in sorted((PACKAGE / room).glob("*.py"))
        },
        "versions": {"torch": torch.__version__, "timm": importlib.metadata.version("timm"), "numpy": np.__version__},
        "device": device.type,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:16]


def shape(source: str) -> str:
    """What a module does, as its syntax tree: no comments, docstrings, layout, or words that are said to people."""
    return ast.dump(_Wordless().visit(ast.parse(source)))


class _Wordless(ast.NodeTransformer):
    """Leaves out text that computes nothing: of docstrings, of errors that are raised, and of what is SAID."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()

    def visit_Call(self, node: ast.Call) -> ast.AST:
        said = ast.unparse(node.func) in SAID
        return ast.Call(node.func, [], []) if said else self.generic_visit(node)


class ResumeState:
    """The last state of one training and the best weights of it, in `folder`, valid for one fingerprint."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder, self.mark = folder, mark

    def load(self) -> dict[str, Any] | None:
        """The last state, or None; a state that is damaged or of another fingerprint is ignored with a line."""
        path = self.folder / LAST
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file raises anything from EOFError to UnpicklingError
            print(f"{path}: is damaged ({type(error).__name__}); training starts from the beginning", file=sys.stderr)
            return None
        if not isinstance(state, dict) or state.get("fingerprint") != self.mark:
            print(f"{path}: is of other params, data or code; training starts from the beginning", file=sys.stderr)
            return None
        return state

    def load_best(self, validation: int) -> dict[str, Any]:
        """The weights of a validation that is among the best."""
        return torch.load(self.folder / BEST.format(validation), map_location="cpu", weights_only=True)

    def save(self, state: dict[str, Any], best: Sequence[int], new: dict[int, Any]) -> None:
        """Writes the state, and before it the weights by validation that are `new` among the `best` ones, whose files
        alone are left.

        Killed in between, what led to the state is run again from the one before and gives the same weights.
        """
        for validation, weights in new.items():
            _write(self.folder / BEST.format(validation), weights)
        _write(self.folder / LAST, {**state, "fingerprint": self.mark})
        for path in {*self.folder.glob(BEST.format("*"))} - {self.folder / BEST.format(each) for each in best}:
            path.unlink()

    def finish(self) -> None:
        """Keeps of a training that has ended its epochs and its best weights, while others go on beside it."""
        last = torch.load(self.folder / LAST, map_location="cpu", weights_only=True)
        if not last["finished"]:
            kept = {"fingerprint": self.mark, "epochs": last["epochs"], "finished": True}
            _write(self.folder / LAST, kept)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(path: Path, state: dict[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    write_bytes(path, content.getvalue())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; InputError where another process trains there: a killed DVC may leave its stage.

    The operating system frees the lock of a process that dies.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{folder}.lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout:
        raise InputError(
            f"{folder}: another process is training this (wait for it, or end it: a killed dvc can leave its stage "
            f"running)"
        ) from None
