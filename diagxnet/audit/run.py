"""A run as its audit sees it, and how a check says what is wrong with a file."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from diagxnet.audit.claims import Claims, Pipeline
from diagxnet.console.errors import InputError, one_line
from diagxnet.data.files import read_json
from diagxnet.data.members import MORE
from diagxnet.ensemble.calibration import read_calibration
from diagxnet.statistics.history import metrics_files

FIGURE_TOLERANCE = 1e-9
"""Largest difference allowed between a stored figure and the same computed by another path: only rounding."""


DAMAGE = (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error)
"""What readers raise where a file is missing or damaged, or lacks what its name promises."""


MEND = "make it anew with dvc repro, or get back what the run wrote with dvc checkout"


@dataclass(frozen=True)
class Run:
    """All that a check may look at."""

    data: Path
    models: Path
    claims: Claims
    pipeline: Pipeline
    tables: Path
    named: Mapping[str, str | None]
    test_table: str | None
    unit: str
    min_positives: int
    precision: str
    images: int
    columns: Mapping[str, str | list[float]]

    @cached_property
    def manifest(self) -> pd.DataFrame:
        path = self.data / "prepared" / "manifest.csv"
        with reading(path):
            return pd.read_csv(path, dtype=str, keep_default_na=False)


class AuditError(Exception):
    """What a check found wrong, in one line."""


def read_claims(metrics: Path, models: Path) -> Claims:
    """Reads what a finished run wrote; InputError where a file is missing or damaged."""
    evaluation, summary = (_claim(metrics / f"{name}.json") for name in ("evaluation", "summary"))
    trainings = {name: _claim(metrics / f"{name}.json") for name in metrics_files({})}
    trainings |= trainings.pop(MORE)
    return Claims(
        evaluation,
        summary,
        {name: own for name, own in trainings.items() if own},
        _claim(models / "calibration.json", read_calibration),
    )


def _claim(path: Path, read: Callable[[Path], Any] = read_json) -> dict[str, Any]:
    try:
        content = read(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: the run is not finished (run dvc repro)") from None
    except (*DAMAGE, AttributeError, TypeError) as error:
        raise InputError(f"{path}: is damaged: {told(error)} ({MEND})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: is damaged: holds no names and values ({MEND})")
    return content


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Names `path` where what is read of it is damaged, for few readers do."""
    try:
        yield
    except DAMAGE as error:
        raise AuditError(f"{path}: is damaged: {told(error)}") from error


def told(error: Exception) -> str:
    """What is wrong, in one line, with the file or the key where the error has one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, KeyError):
        return f"lacks {error.args[0]!r}" if error.args else "lacks a key"
    return one_line(error)


def below(run: Run, path: Path) -> str:
    return (Path("models") / path.relative_to(run.models)).as_posix()


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by dotted key."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        name: leaf
        for key, child in value.items()
        for name, leaf in flat(child, f"{prefix}.{key}" if prefix else key).items()
    }


def unequal(stored: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    """The keys of either whose values are not equal; numbers may differ by FIGURE_TOLERANCE."""
    wrong = []
    for name in stored | again:
        ours, theirs = stored.get(name), again.get(name)
        if isinstance(ours, int | float) and isinstance(theirs, int | float):
            if not abs(ours - theirs) <= FIGURE_TOLERANCE:
                wrong.append(name)
        elif ours != theirs:
            wrong.append(name)
    return wrong
