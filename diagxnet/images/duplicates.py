"""Images that are the same film, be it resized, re-encoded or brightened: alike by a perceptual hash, and in detail.

The hash is the sign of the 16 x 16 lowest frequencies of the packed square's discrete cosine transform (pHash: Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010; Zauner takes 8 x 8 of them against their
median). Signs do not change with brightness or contrast. All chests are alike at low frequencies, so that a pair that
is close by its hash counts only where the frequencies above those, ribs and vessels, are alike, too.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from diagxnet.images.doubts import LEAST_SPREAD

FREQUENCIES = 16
WORDS = FREQUENCIES**2 // 64

MOST_BITS, MOST_LOW_BITS = 32, 8
"""Of a hash's 256 bits, and of the 64 of its 8 x 8 lowest frequencies, that may differ between copies of a film. Of 29
million pairs of NIH films, 6 differ by so few or fewer; of copies at half or twice the size, as JPEG of quality 50, a
fifth brighter or darker, all do."""

DETAIL = 48
LEAST_DETAIL = 0.9
"""Correlation of the frequencies from the hash's up to so many. Of two films of one patient the highest of those pairs
has 0.82, of drawn lateral films 0.85; of the copies named above 996 in 1,000 have more, at 80 and at 224 pixels."""

ROWS, COLUMNS = 64, 4096
"""Of a block in which hashes are compared: it fits a core's cache."""


class Duplicate(NamedTuple):
    """Rows `first` and `second` (greater) of the packed images; the bits in which their hashes differ, and the
    correlation of their detail."""

    first: int
    second: int
    bits: int
    detail: float


def film_hash(square: np.ndarray) -> np.ndarray:
    """[WORDS] uint64 of [size, size] uint8, the lowest frequencies in the first; all 0 where there is hardly any
    contrast, as of such an image nothing tells what it is."""
    greys = square.astype(np.float32)
    basis = _basis(len(square), FREQUENCIES)
    found = basis @ greys @ basis.T
    energy = np.vdot(greys, greys) - found[0, 0] ** 2
    if energy < LEAST_SPREAD**2 * greys.size:
        return np.zeros(WORDS, np.uint64)
    return np.packbits((found.ravel()[_ORDER]) > 0).view(np.uint64)


def find_duplicates(hashes: np.ndarray, images: np.ndarray, workers: int = 1) -> list[Duplicate]:
    """The pairs of rows that are one film, sorted. hashes: [images, WORDS] uint64, of `film_hash`. images: [images,
    size, size] uint8. Of many copies of a film each is paired with the first of equal hash, not with one another.

    All pairs of hashes are compared, in blocks: some 37 seconds of a core for 223,414.
    """
    known = np.flatnonzero(hashes.any(axis=1))
    _, first, inverse = np.unique(hashes[known], axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # so that the first row stands for its equals, in the rows' order
    rows = known[first[order]]
    equal = [(int(known[first[group]]), int(row)) for row, group in zip(known, inverse.ravel(), strict=True)]
    pairs = [(one, other) for one, other in equal if one != other]
    compared = hashes[rows]
    with ThreadPoolExecutor(workers) as pool:
        for found in pool.map(lambda start: _close(compared, start), range(0, len(rows), ROWS)):
            pairs += [(int(rows[one]), int(rows[other])) for one, other in found]
    return sorted(_confirmed(pairs, hashes, images))


def _close(hashes: np.ndarray, start: int) -> list[tuple[int, int]]:
    """Pairs of rows of `hashes`, the first of them from `start` to `start` + ROWS, that differ by few bits."""
    pairs: list[tuple[int, int]] = []
    own = hashes[start : start + ROWS]
    for begin in range(start, len(hashes), COLUMNS):
        others = hashes[begin : begin + COLUMNS]
        bits = np.bitwise_count(own[:, None, 0] ^ others[None, :, 0])
        one, other = np.divmod(np.flatnonzero(bits.ravel() <= MOST_LOW_BITS), len(others))
        later = other + begin > one + start
        one, other = one[later], other[later]
        near = np.bitwise_count(own[one] ^ others[other]).sum(axis=1) <= MOST_BITS
        pairs += zip((one[near] + start).tolist(), (other[near] + begin).tolist(), strict=True)
    return pairs


def _confirmed(pairs: list[tuple[int, int]], hashes: np.ndarray, images: np.ndarray) -> Iterator[Duplicate]:
    for one, other in pairs:
        detail = float(np.vdot(_detail(images[one]), _detail(images[other])))
        if detail >= LEAST_DETAIL:
            yield Duplicate(one, other, int(np.bitwise_count(hashes[one] ^ hashes[other]).sum()), round(detail, 3))


def _detail(square: np.ndarray) -> np.ndarray:
    """The DETAIL x DETAIL lowest frequencies of `square` without those of the hash, float32 of length 1."""
    basis = _basis(len(square), min(DETAIL, len(square)))
    found = basis @ square.astype(np.float32) @ basis.T
    found[:FREQUENCIES, :FREQUENCIES] = 0
    return found / max(float(np.linalg.norm(found)), 1e-6)


@lru_cache
def _basis(size: int, frequencies: int) -> np.ndarray:
    """[frequencies, size] float32, orthonormal: the lowest frequencies of the cosine transform (DCT-II)."""
    frequency, pixel = np.arange(frequencies)[:, None], np.arange(size)[None]
    basis = np.cos(np.pi * frequency * (2 * pixel + 1) / (2 * size)) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def _low_first() -> np.ndarray:
    """Places of the frequencies [FREQUENCIES**2] in the order of the hash's bits: the 8 x 8 lowest first."""
    low = np.zeros((FREQUENCIES, FREQUENCIES), bool)
    low[:8, :8] = True
    return np.concatenate([np.flatnonzero(low), np.flatnonzero(~low)])


_ORDER = _low_first()
