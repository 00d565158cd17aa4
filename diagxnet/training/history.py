"""What a training leaves behind, beside its weights: the history of its epochs, and its timing."""

from typing import Any

from diagxnet.training.loop import Epoch
from diagxnet.training.schedule import Schedule


def history(
    epochs: list[Epoch], schedule: Schedule, train_images: int, average: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Content of training_history.json: a record a validation, and by its `epoch` the best, whose weights are saved
    unless the `average` of the best ones is `kept` (see `loop.fit`); `epochs_run`: passes over train, in parts too."""
    records = [epoch.record for epoch in epochs]
    best = min(records, key=lambda record: schedule.badness(record["val_loss"], record["val_auroc"]))
    return {
        "best_epoch": best["epoch"],
        "epochs_run": records[-1]["epoch"],
        "stopped_early": records[-1]["epoch"] < schedule.epochs,
        "train_images": train_images,
        "epochs": records,
    } | ({} if average is None else {"average": average})


def joint_history(histories: list[dict[str, Any]]) -> dict[str, Any]:
    """The history of models trained alike, on other folds or from other seeds: the first's, and under `members` of each
    its best epoch with its val loss, the epochs run and the images learned from. Of one model, its own history."""
    if len(histories) == 1:
        return histories[0]
    members = []
    for each in histories:
        (best,) = (record for record in each["epochs"] if record["epoch"] == each["best_epoch"])
        own = {key: each[key] for key in ("best_epoch", "epochs_run", "train_images")}
        members.append(own | {"best_val_loss": best["val_loss"]})
    return histories[0] | {"members": members}


def timing(epochs: list[Epoch], history: dict[str, Any]) -> dict[str, float]:
    """Seconds of all epochs, those before an interruption too, and training images per second.

    epochs: of all members. history: see `history` and `joint_history`.
    """
    seconds = sum(epoch.seconds for epoch in epochs)
    images = sum(each["epochs_run"] * each["train_images"] for each in history.get("members", [history]))
    return {"seconds": round(seconds, 2), "images_per_second": round(images / max(seconds, 1e-9), 1)}
