"""Random numbers that are the same to the bit on every platform.

Integers and uniform floats of numpy's Philox are exact everywhere; its normal variates are not (their tails call the
platform's logarithm), so a normal here is a sum of uniforms. Sines are rounded for the same reason.
"""

import math

import numpy as np

GRID = 2.0**-20
"""Results of transcendental functions are rounded to this grid: platforms differ in the last bit (2**-53) only."""


def on_grid(values: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(values, np.float64) / GRID) * GRID


def sine_cosine(degrees: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of angles in degrees, rounded to the grid."""
    radians = np.asarray(degrees, np.float64) * (math.pi / 180)
    return on_grid(np.sin(radians)), on_grid(np.cos(radians))


class Chance:
    """A random stream that its `key` names: the same key gives the same stream, different keys independent ones."""

    def __init__(self, *key: int) -> None:
        self.generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(self.generator.random())

    def uniforms(self, low: float, high: float, *shape: int) -> np.ndarray:
        return low + (high - low) * self.generator.random(shape)

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """Nearly normal, within six deviations of the mean: the sum of twelve uniforms (Irwin and Hall)."""
        total = 0.0
        for value in self.generator.random(12).tolist():
            total += value
        return mean + deviation * (total - 6.0)

    def happens(self, probability: float) -> bool:
        return self.uniform() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return int(self.generator.integers(low, high + 1))

    def side(self) -> int:
        """-1, the patient's right (left on the image), or +1, the patient's left."""
        return -1 if self.happens(0.5) else 1

    def pick(self, *weights: float) -> int:
        """An index, with the chances that the `weights` give."""
        threshold, total = self.uniform() * sum(weights), 0.0
        for index, weight in enumerate(weights):
            total += weight
            if threshold < total:
                return index
        return len(weights) - 1
