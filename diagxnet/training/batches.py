"""Batches straight from the packed map: one vectorised step a batch, so that reading needs no worker processes."""

import functools
import weakref

import numpy as np
import torch

_buffers: dict[tuple[int, ...], list[np.ndarray]] = {}
"""By shape the memory of batches that nobody holds any more: memory that is new to the process is several times as slow
to write to."""


def gather(images: np.ndarray, rows: np.ndarray) -> torch.Tensor:
    """The images of `rows`, in their order: uint8 [batch, 1, size, size] in memory that no other living batch has.

    images: [images, size, size] uint8, as `open_packed` maps it. rows: [batch] integers from 0, in any order. With a
    CUDA device the memory is page-locked, without which a copy to it waits for the CPU. Safe to call from several
    threads. Raises IndexError for a row that is none.
    """
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(images):
        raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(images)} images")
    shape = len(rows), *images.shape[1:]
    # page-locked memory torch keeps and hands out again itself, once copies from it are done
    locked = {"dtype": torch.uint8, "pin_memory": True}
    batch = torch.empty(shape, **locked) if _has_cuda() else torch.from_numpy(_reused(shape))
    np.take(images, rows, axis=0, out=batch.numpy(), mode="clip")  # any other mode goes through a copy
    return batch.unsqueeze(1)


_has_cuda = functools.cache(torch.cuda.is_available)


def _reused(shape: tuple[int, ...]) -> np.ndarray:
    """An array [shape] uint8 whose memory is kept for the next one when it is gone."""
    kept = _buffers.setdefault(shape, [])
    try:
        memory = kept.pop()
    except IndexError:
        memory = np.empty(shape, np.uint8)
    array = memory[:]  # a tensor of it holds this view, and so tells when the last one of it is gone
    weakref.finalize(array, kept.append, memory).atexit = False
    return array
