"""The packed images, read once in order before a training takes them in any order."""

import time
from pathlib import Path

from accelerate import Accelerator

from diagxnet.data.files import content_hash
from diagxnet.training.processes import from_first

LARGE = 1e9
"""Bytes from which on it takes long enough to say so."""


def preload(name: str, images: Path, accelerator: Accelerator) -> str:
    """The content hash of the file `images`, by which a resumed training knows its data; read once a machine.

    That leaves the file in the system's memory, as far as it fits. Batches take rows in random order, for which a hard
    disk or a network's folder needs many times as long.
    """
    size, started = images.stat().st_size, time.monotonic()
    said = size >= LARGE and accelerator.is_main_process
    if said:
        print(f"{name}: reads {size / 1e9:,.1f} GB of packed images once, in order:", end=" ", flush=True)
    digest = content_hash(images) if accelerator.is_local_main_process else ""
    accelerator.wait_for_everyone()
    if said:
        print(f"{time.monotonic() - started:,.0f} s", flush=True)
    return from_first(lambda: digest, accelerator)
