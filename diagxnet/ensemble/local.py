"""A calibration of another hospital's own, as `stages.recalibrate` writes it, for the models that it was fitted to.

It has the form of models/calibration.json and, under `recalibrated`, which models and which sample it is of.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diagxnet.console.errors import InputError
from diagxnet.data.files import content_hash, read_json
from diagxnet.data.findings import Findings
from diagxnet.data.members import CONFIG, member_folder, table_configs
from diagxnet.ensemble.calibration import Calibration, calibration_of
from diagxnet.training.checkpoint import WEIGHTS
from diagxnet.training.networks import model_folders

OWN = "recalibrated"


@dataclass(frozen=True)
class Local:
    """calibration: by model and finding. source: in words, the sample that it was fitted on."""

    calibration: Calibration
    source: str


def models_hash(folder: Path, members: Sequence[str]) -> str:
    """MD5 in hex of what makes the logits: config and weights of the base models `members` and of the meta-learner."""
    tables = table_configs(folder, members)
    own = {name: member_folder(folder, name) for name in (*members, "meta")}
    places = [place for name, base in own.items() if name in members and name not in tables for place in _flat(base)]
    files = [base / CONFIG for base in own.values()]
    files += [place / WEIGHTS for place in (*places, own["meta"])]
    return hashlib.md5("".join(map(content_hash, files)).encode(), usedforsecurity=False).hexdigest()


def read_local(path: Path, folder: Path, members: Sequence[str], findings: Findings) -> Local:
    """The calibration in `path` for the models in `folder`; InputError where it is none, or of others."""
    try:
        content = read_json(path)
        own = content[OWN]
        local = Local(
            calibration_of(content), f"{own['data']}, {own['patients']:,} patients ({content_hash(path)[:8]})"
        )
        given, keys = own["models"], content["findings"]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror} (make it with: python -m stages.recalibrate)") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path}: is no calibration of stages.recalibrate (make one, or leave --calibration out: the models have "
            "their own)"
        ) from None
    if keys != list(findings.keys):
        raise InputError(
            f"{path}: of the findings {', '.join(keys)}, and the models in {folder} predict {', '.join(findings.keys)} "
            "(run stages.recalibrate with these)"
        )
    if given != models_hash(folder, members):
        raise InputError(f"{path}: fitted for other models than those in {folder} (run stages.recalibrate with these)")
    return local


def _flat(base: Path) -> list[Path]:
    return [place for fold in model_folders(base) for place in fold]
