"""Random draws by hashing: a draw depends on its seed and on what it is for, never on the draws around it.

A generator that is called row by row gives every row another value when one row is added before it. Here each value is
a hash of (seed, purpose, text or counter), so that adding, removing or reordering rows changes no other draw, and any
part of them can be made again alone.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


def hash_texts(texts: Iterable[str], *, seed: int, purpose: str) -> np.ndarray:
    """Hashes texts to 64 random bits each: uint64 [texts], equal on every platform.

    `purpose` (at most 16 bytes) keeps the draws of different uses independent of each other; `seed` is in [0, 2**64).
    """
    start = blake2b(digest_size=8, salt=seed.to_bytes(8, "little"), person=purpose.encode())

    def digest(text: str) -> bytes:
        state = start.copy()
        state.update(text.encode())
        return state.digest()

    return np.frombuffer(b"".join(map(digest, texts)), dtype="<u8").astype(np.uint64)


def mix(values: np.ndarray) -> np.ndarray:
    """The splitmix64 finalizer over uint64 `values` of any shape; a number becomes [1] (Steele et al., OOPSLA 2014)."""
    values = np.atleast_1d(np.asarray(values, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def uniform(bits: np.ndarray) -> np.ndarray:
    """Turns uint64 `bits` into float64 in [0, 1), from their upper 53 bits."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
