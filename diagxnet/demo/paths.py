"""Points along lines."""

import numpy as np


def smooth_path(points: list[tuple[float, float]], steps: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A Catmull-Rom curve through the points, `steps` for each leg: x and y, [1, points] each."""
    p = np.array([points[0], *points, points[-1]], np.float64)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    path = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    path = path.reshape(-1, 2)
    return path[None, :, 0], path[None, :, 1]


def dense_path(x: np.ndarray, y: np.ndarray, steps: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A straight-legged line through the points, `steps` for each leg: x and y, [1, points] each."""
    share = np.arange(steps) / steps
    xs = (x[:-1, None] + (x[1:] - x[:-1])[:, None] * share).reshape(1, -1)
    ys = (y[:-1, None] + (y[1:] - y[:-1])[:, None] * share).reshape(1, -1)
    return xs, ys
