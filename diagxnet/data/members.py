"""The members of the ensemble: its base models, and where each is kept.

`densenet` and `vit` are sections of params.yaml with stages of their own; section `more` holds any further ones. Who
reads stored logits or a models folder takes the members from there, in their order, and never lists folders.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIRST = ("densenet", "vit")
"""Base models that params.yaml always names, each of them null where it is left out."""

MORE = "more"
"""Folder below `models` of all others, as the section of params.yaml."""


def names(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The members that `params` (content of params.yaml) asks for, in the order of every stacked array."""
    return (*(name for name in FIRST if params[name] is not None), *params[MORE])


def member_folder(models: Path, name: str) -> Path:
    """Where the base model `name`, or the meta-learner (`meta`), is below `models`."""
    return models / name if name in (*FIRST, "meta") else models / MORE / name
