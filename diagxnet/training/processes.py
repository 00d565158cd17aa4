"""What several processes that work together have from the first of them."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

Made = TypeVar("Made")


def from_first(make: Callable[[], Made], accelerator: Accelerator) -> Made:
    """What the first process makes, or reads, in each of them: no other need have the first one's disk."""
    held = [make() if accelerator.is_main_process else None]
    return broadcast_object_list(held)[0]
