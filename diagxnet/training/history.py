"""What a training leaves behind, beside its weights: the history of its epochs, and its timing."""

from typing import Any

from diagxnet.training.loop import Epoch


def history(epochs: list[Epoch], epochs_allowed: int, train_images: int) -> dict[str, Any]:
    """Content of training_history.json: a record an epoch, and which of them the saved weights are from."""
    records = [epoch.record for epoch in epochs]
    best = min(records, key=lambda record: record["val_loss"])
    return {
        "best_epoch": best["epoch"],
        "epochs_run": len(records),
        "stopped_early": len(records) < epochs_allowed,
        "train_images": train_images,
        "epochs": records,
    }


def timing(epochs: list[Epoch], images: int) -> dict[str, float]:
    """Seconds of all epochs, those before an interruption too, and training images per second."""
    seconds = sum(epoch.seconds for epoch in epochs)
    return {"seconds": round(seconds, 2), "images_per_second": round(len(epochs) * images / max(seconds, 1e-9), 1)}
