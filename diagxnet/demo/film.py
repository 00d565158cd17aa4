"""What the detector makes of the thickness: scatter, tone, noise, collimation, burnt-in letters, eight bits."""

import numpy as np

from diagxnet.demo.canvas import Frame, blur, enlarged, halved, smooth_step
from diagxnet.demo.chance import Chance

LETTERS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "B": "11110 10001 10001 11110 10001 10001 11110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "G": "01110 10001 10000 10111 10001 10001 01110",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "I": "01110 00100 00100 00100 00100 00100 01110",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "N": "10001 11001 10101 10011 10001 10001 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
}


def expose(thickness: np.ndarray, frame: Frame, view: str, projection: str, chance: Chance) -> np.ndarray:
    """The film of a [height, width] thickness: uint8 of the same shape. `view` is `frontal` or `lateral`."""
    portable = projection == "AP"
    scattered = thickness + (_veil(thickness) - thickness) * np.float32(chance.uniform(0.16, 0.3 if portable else 0.22))
    low = chance.uniform(0.14, 0.28)
    high = chance.uniform(1.15, 1.4)
    level = (scattered - np.float32(low)) / np.float32(high - low)
    level = level + _unevenness(level.shape, chance)
    image = _tone(level, chance.uniform(-0.25, 0.35))
    image = image + _noise(image, frame, chance, chance.uniform(0.5, 1.6 if portable else 1.2))
    image = _collimated(image, frame, portable, chance)
    _mark(image, frame, view, projection, chance)
    return np.clip(np.rint(image * np.float32(255)), 0, 255).astype(np.uint8)


def _veil(thickness: np.ndarray) -> np.ndarray:
    """Scatter: a wide blur, made at a quarter of the resolution."""
    coarse = halved(halved(thickness))
    wide = blur(coarse, max(coarse.shape[0] / 9, 1.0))
    return enlarged(wide, thickness.shape)


def _unevenness(shape: tuple[int, int], chance: Chance) -> np.ndarray:
    """Soft tissue, folds and a tube off centre: shades without edges, a sixth of the film wide and wider."""
    wide = enlarged(chance.uniforms(-0.04, 0.04, 3, 3).astype(np.float32), shape)
    return wide + enlarged(chance.uniforms(-0.07, 0.07, 6, 7).astype(np.float32), shape)


def _tone(level: np.ndarray, bend: float) -> np.ndarray:
    """The detector's curve: a line with a soft toe and shoulder, bent towards dark or bright."""
    level = np.clip(level, -0.2, 1.5)
    level = level + np.float32(bend) * level * (1 - level) * np.float32(0.6)
    return 0.03 + 0.93 * smooth_step(0.5 + (level - 0.5) * np.float32(0.62))


def _noise(image: np.ndarray, frame: Frame, chance: Chance, strength: float) -> np.ndarray:
    """Quantum noise: fewer photons behind thick parts; slightly blurred, as by a scintillator."""
    draws = chance.generator.integers(0, 256, (4, *image.shape), dtype=np.uint8)
    summed = draws[0].astype(np.float32) + draws[1] + draws[2] + draws[3] - 510
    grain = summed / np.float32(147.8)
    fine = (grain + np.roll(grain, 1, axis=1) + np.roll(grain, 1, axis=0)) * np.float32(0.577)
    return fine * (0.35 + image) * np.float32(0.011 * strength)


def _collimated(image: np.ndarray, frame: Frame, portable: bool, chance: Chance) -> np.ndarray:
    """Blades that leave dark borders, on some films only, and never over the lungs."""
    if not chance.happens(0.35 if portable else 0.5):
        return image
    height, width = image.shape
    column = (np.arange(width, dtype=np.float32) + 0.5) / height
    row = (np.arange(height, dtype=np.float32) + 0.5) / height
    slope = chance.normal(0, 0.01)
    edges = [chance.uniform(-0.03, 0.05) for _ in range(4)]
    across = column[None, :] + np.float32(slope) * row[:, None]
    down = row[:, None] - np.float32(slope) * column[None, :]
    sharp = np.float32(0.006)
    lit = smooth_step((across - np.float32(edges[0])) / sharp) * smooth_step(
        (np.float32(width / height - edges[1]) - across) / sharp
    )
    lit *= smooth_step((down - np.float32(edges[2] * 0.6)) / sharp)
    lit *= smooth_step((np.float32(1 - edges[3] * 0.6) - down) / sharp)
    return image * (0.04 + 0.96 * lit)


def _mark(image: np.ndarray, frame: Frame, view: str, projection: str, chance: Chance) -> None:
    """Burnt-in letters: a side marker on most films, and the projection on some portable ones."""
    large = chance.uniform(0.030, 0.055)
    if view == "frontal" and chance.happens(0.9):
        left = chance.happens(0.75)
        place = chance.uniform(0.86, 0.94) if left else chance.uniform(0.06, 0.12)
        _write(image, "L" if left else "R", place, chance.uniform(0.03, 0.14), large)
    if view == "lateral" and chance.happens(0.6):
        _write(image, "L", chance.uniform(0.8, 0.94), chance.uniform(0.03, 0.1), large)
    if view == "frontal" and projection == "AP" and chance.happens(0.6):
        word = ("PORTABLE", "AP", "SUPINE", "AP UPRIGHT")[chance.pick(4, 3, 1, 2)]
        _write(image, word, chance.uniform(0.04, 0.7), chance.uniform(0.015, 0.05), 0.028)


def _write(image: np.ndarray, word: str, left: float, top: float, size: float) -> None:
    height, width = image.shape
    bitmap = np.concatenate([_letter(letter) for letter in word], axis=1)
    scale = round(size * height / len(bitmap))
    if scale == 0:
        return  # no letter is legible on so small a film
    ink = blur(np.repeat(np.repeat(bitmap, scale, 0), scale, 1), 0.6 * scale)
    shape = ink.shape
    x, y = min(round(left * width), max(width - shape[1], 0)), round(top * height)
    part = image[y : y + shape[0], x : x + shape[1]]
    ink = ink[: part.shape[0], : part.shape[1]]
    part += (np.float32(0.93) - part) * ink


def _letter(letter: str) -> np.ndarray:
    grid = np.zeros((9, 7), np.float32)
    if letter != " ":
        grid[1:8, 1:6] = [[float(dot) for dot in row] for row in LETTERS[letter].split()]
    return grid
