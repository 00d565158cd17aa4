"""The hyperparameters of one training, each part declared beside the code that reads it."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from diagxnet.training.loss import Objective
from diagxnet.training.schedule import Optimization, Schedule
from diagxnet.training.windows import Batches

PARTS = {"batches": Batches, "objective": Objective, "optimization": Optimization, "schedule": Schedule}


@dataclass(frozen=True)
class Recipe:
    """What one training needs to know beside its model and its data. ema: see `training.ema`; None: no average."""

    batches: Batches
    objective: Objective
    optimization: Optimization
    schedule: Schedule
    seed: int
    ema: float | None = None
    num_workers: int = 0
    compile: bool = False
    sync_batch_norm: bool = False

    def identity(self) -> dict[str, Any]:
        """What of it shapes bytes: all but the number of threads that read ahead."""
        whole = asdict(self)
        del whole["num_workers"]
        return whole


def compose(**values: Any) -> Recipe:
    """The recipe of these values, whose keys are those of params.yaml; a TypeError for one too many or too few."""
    parts = {}
    for part, kind in PARTS.items():
        own = {each.name for each in fields(kind)} & values.keys()
        parts[part] = kind(**{key: values.pop(key) for key in own})
    return Recipe(**parts, **values)


def member_seed(seed: int, member: int) -> int:
    """The seed of a member (from 0): the first has `seed` itself, and members of neighbouring seeds share none."""
    return seed if member == 0 else int(np.random.SeedSequence([seed, member]).generate_state(1)[0])
