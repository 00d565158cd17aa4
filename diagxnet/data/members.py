"""The members of the ensemble: its base models, and where each is kept.

`densenet` and `vit` are sections of params.yaml with stages of their own; section `more` holds any further ones. Who
reads stored logits or a models folder takes the members from there, in their order, and never lists folders.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diagxnet.data.files import read_json

FIRST = ("densenet", "vit")
"""Base models that params.yaml always names, each of them null where it is left out."""

MORE = "more"
"""Section of params.yaml, and folder below `models`, of all others."""

CONFIG = "config.json"
"""What each of them is, in its folder."""

LEFT_OUT = {"trained": False}
"""Config of one of FIRST that is null in params.yaml: its stage writes a folder, as DVC wants one, and no model."""

TAKEN = {
    *FIRST,
    "meta",
    "average",
    "ensemble",
    "best_base",
    "features",
    "total",
    "rows",
    "comparison",
    "histories",
    "combination",
}
TAKEN |= {"probe", "lacks", "findings", "indicators", "counts", "one_class", "few", "subgroups_too_small", "external"}
"""Keys of the metrics and of the stored logits, beside which a member's name stands."""


TABLES = "tables"
"""Section of params.yaml of the members that are tables of predictions, which others made; kept with MORE."""

GIVEN = "table"
"""Key of such a member's config.json: its file's name."""


SCORES = "scores.npz"
"""Beside it, the scores of the table: rows [images] int64, logits [images, findings] float32."""


def names(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The members that `params` (content of params.yaml) asks for, in the order of every stacked array."""
    return (*(name for name in FIRST if params[name] is not None), *params[MORE], *params[TABLES])


def table_configs(models: Path, members: Iterable[str]) -> dict[str, dict[str, Any]]:
    """config.json of those of `members` below `models` that are tables of predictions."""
    configs = {name: member_folder(models, name) / CONFIG for name in members}
    found = {name: read_json(path) for name, path in configs.items() if path.is_file()}
    return {name: config for name, config in found.items() if GIVEN in config}


def name_problem(name: str) -> str | None:
    """Why `name` cannot be a further member's, or None: it becomes a file, a key of the metrics and one of `-S`."""
    if not re.fullmatch("[a-z][a-z0-9_]{0,39}", name):
        return "a member's name must be a letter, then letters, digits and _, all in lower case, 40 at most"
    return f"a member cannot be called {name}: metrics has that key already" if name in TAKEN else None


def member_folder(models: Path, name: str) -> Path:
    """Where the base model `name`, or the meta-learner (`meta`), is below `models`."""
    return models / name if name in (*FIRST, "meta") else models / MORE / name
