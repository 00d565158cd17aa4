"""Pointing game: does the brightest place of a heat map lie where the sign was drawn?

    python -m benchmarks.pointing [--images N]     needs a finished `dvc repro` on the demo data

For each frontal test image and each finding that is labelled positive and has a box in regions.csv, a hit is a map
whose maximum lies in one of the finding's boxes (Zhang et al. 2018, arXiv:1608.00507). Beside it: a place drawn at
random (the share of the visible square that the boxes cover) and the centre of the image. `repeat` is the share of the
maps with their maximum in the commonest of 8 x 8 places: near 1, the maps do not depend on the image.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.images.decode import RESIZE_RATIO, _box, decode
from diagxnet.prediction.saliency import heat_maps

CELLS = 8
"""Places a side of `repeat`."""


def covered(boxes: np.ndarray, image_size: tuple[int, int], size: int) -> np.ndarray:
    """[size, size] bool: pixels of the square with their middle in a box of [boxes, 4] (left, top, right, bottom)."""
    left, top, right, bottom = _box(image_size, round(size * RESIZE_RATIO), size)
    across = left + (np.arange(size) + 0.5) * (right - left) / size
    down = top + (np.arange(size) + 0.5) * (bottom - top) / size
    mask = np.zeros((size, size), bool)
    for first, upper, last, lower in boxes:
        mask |= ((down >= upper) & (down < lower))[:, None] & ((across >= first) & (across < last))[None]
    return mask


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", type=Path, default=Path("data/demo"))
    options.add_argument("--models", type=Path, default=Path("models"))
    options.add_argument("--images", type=int, default=10**9, help="so many test images, the first")
    chosen = options.parse_args()
    ensemble = Ensemble.load(chosen.models, precision="fp32")
    size = ensemble.image_size
    if ensemble.crop != "guide":
        options.error(f"boxes are mapped for data.crop: guide, and these models read {ensemble.crop}")
    labels = pd.read_csv(chosen.root / "valid.csv").set_index("Path")
    labels = labels[labels["Frontal/Lateral"] == "Frontal"].iloc[: chosen.images]
    regions = pd.read_csv(chosen.root / "regions.csv")
    boxes = {
        key: group[["left", "top", "right", "bottom"]].to_numpy() for key, group in regions.groupby(["Path", "finding"])
    }
    hits: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    places: dict[str, Counter] = defaultdict(Counter)
    for path, row in labels.iterrows():
        findings = [f for f in CHEXPERT.names if row[f] == 1 and (path, f) in boxes]
        if not findings:
            continue
        file = chosen.root / path.split("/", 1)[1]
        with Image.open(file) as image:
            image_size = image.size
        maps = heat_maps(ensemble, decode(file, size), [CHEXPERT.names.index(finding) for finding in findings])
        for finding, heat in zip(findings, maps, strict=True):
            mask = covered(boxes[path, finding], image_size, size)
            place = np.unravel_index(heat.argmax(), heat.shape)
            hits[finding].append((float(mask[place]), float(mask.mean()), float(mask[size // 2, size // 2])))
            places[finding][tuple(int(each) * CELLS // size for each in place)] += 1
    print(f"{'finding':<28} maps   hit  random  centre  repeat")
    for finding in CHEXPERT.names:
        if finding in hits:
            hit, random, centre = np.mean(hits[finding], axis=0)
            repeat = places[finding].most_common(1)[0][1] / len(hits[finding])
            print(f"{finding:<28} {len(hits[finding]):>4}  {hit:.2f}    {random:.2f}    {centre:.2f}    {repeat:.2f}")
    means = np.mean([np.mean(each, axis=0) for each in hits.values()], axis=0)
    print(f"{'mean of the findings':<28} {sum(map(len, hits.values())):>4}  " + "    ".join(f"{m:.2f}" for m in means))


if __name__ == "__main__":
    main()
