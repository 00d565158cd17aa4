"""Many images through the ensemble in bounded memory: what can be read is predicted, the rest keeps its reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.images.decode import ImageError, Radiograph, read_radiograph
from diagxnet.prediction.inputs import Item
from diagxnet.tables.given import unscored
from diagxnet.training.sources import read_ahead

BATCH_SIZE = 32


@dataclass(frozen=True)
class Outcome:
    """What became of an image: `error`, the reason why it could not be predicted, or else the rest.

    probabilities: [findings] float64, calibrated; NaN where the finding was not learned. present: keys of the findings
    at or above their threshold, the most probable first. doubts: why the prediction may be worth nothing. image:
    [image_size, image_size] uint8, as seen. given: logits [findings] of each member that is a table of predictions.
    """

    item: Item
    error: str | None = None
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))
    present: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    image: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    given: Mapping[str, np.ndarray] = field(default_factory=dict)


def run(
    ensemble: Ensemble,
    items: Sequence[Item],
    *,
    rule: str = "youden",
    batch_size: int = BATCH_SIZE,
    scores: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Outcome]:
    """An Outcome for each of `items`, in their order.

    rule: of the thresholds (see Ensemble.thresholds). batch_size: images at a time; two batches are held, the next is
    read by a thread while the models work. scores: logits [items, findings] of each member that is a table of
    predictions; what a table leaves out is not predicted.
    """
    scores = scores or {}
    thresholds = ensemble.thresholds(rule)
    batches = [range(start, min(start + batch_size, len(items))) for start in range(0, len(items), batch_size)]

    def read_batch(batch: range) -> list[Radiograph | str]:
        return [_read(items[place], ensemble) for place in batch]

    for batch, read in read_ahead(read_batch, batches, 1):
        read = [
            (unscored(scores, place) or each) if isinstance(each, Radiograph) else each
            for place, each in zip(batch, read, strict=True)
        ]
        good = {place: each for place, each in zip(batch, read, strict=True) if isinstance(each, Radiograph)}
        given = {name: own[[*good]] for name, own in scores.items()}
        images = [each.image for each in good.values()]
        probabilities = iter(ensemble.predict(np.stack(images), given=given).probabilities if good else ())
        for place, each in zip(batch, read, strict=True):
            if isinstance(each, str):
                yield Outcome(items[place], each)
                continue
            own = next(probabilities)
            found = present(own, thresholds, ensemble.findings.keys)
            given = {name: logits[place] for name, logits in scores.items()}
            yield Outcome(items[place], None, own, found, tuple(map(str, each.doubts)), each.image, given)


def present(probabilities: np.ndarray, thresholds: np.ndarray, keys: Sequence[str]) -> tuple[str, ...]:
    """Those of `keys`, of the findings, at or above their threshold (both [findings]), the most probable first."""
    above = np.flatnonzero(probabilities >= thresholds)
    return tuple(keys[finding] for finding in above[np.argsort(-probabilities[above], kind="stable")])


def _read(item: Item, ensemble: Ensemble) -> Radiograph | str:
    if item.problem is not None:
        return item.problem
    try:
        return read_radiograph(item.path, ensemble.image_size, item.root, crop=ensemble.crop)
    except ImageError as error:
        return str(error)
