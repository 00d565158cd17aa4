"""Many images through the ensemble in bounded memory: what can be read is predicted, the rest keeps its reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.images.decode import ImageError, Radiograph, read_radiograph
from diagxnet.prediction.inputs import Item
from diagxnet.training.sources import read_ahead

BATCH_SIZE = 32


@dataclass(frozen=True)
class Outcome:
    """What became of an image: `error`, the reason why it could not be predicted, or else the rest.

    probabilities: [findings] float64, calibrated; NaN where the finding was not learned. present: keys of the findings
    at or above their threshold, the most probable first. doubts: why the prediction may be worth nothing. image:
    [image_size, image_size] uint8, as seen.
    """

    item: Item
    error: str | None = None
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))
    present: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    image: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))


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
    predictions.
    """
    thresholds = ensemble.thresholds(rule)
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    start = 0
    for batch, read in read_ahead(lambda batch: [_read(item, ensemble) for item in batch], batches, 1):
        good = [each.image for each in read if isinstance(each, Radiograph)]
        places = [start + place for place, each in enumerate(read) if isinstance(each, Radiograph)]
        given = {name: own[places] for name, own in (scores or {}).items()}
        probabilities = iter(ensemble.predict(np.stack(good), given=given).probabilities if good else ())
        start += len(batch)
        for item, each in zip(batch, read, strict=True):
            if isinstance(each, Radiograph):
                own = next(probabilities)
                found = present(own, thresholds, ensemble.findings.keys)
                yield Outcome(item, None, own, found, tuple(map(str, each.doubts)), each.image)
            else:
                yield Outcome(item, each)


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
