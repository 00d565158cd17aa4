"""Losses of every training, and its learning curves."""

from collections.abc import Mapping
from itertools import product

from matplotlib.figure import Figure

from diagxnet.reporting.drawing import DPI
from diagxnet.reporting.page import Html, table
from diagxnet.reporting.section import Drawing, Material, Section
from diagxnet.statistics.comparison import label


def _histories(evaluation: dict) -> Html:
    rows = [
        (
            label(training),
            own["epochs_run"],
            own["best_epoch"],
            f"{own['first_train_loss']:.4f} to {own['last_train_loss']:.4f}",
            f"{own['first_val_loss']:.4f} to {own['best_val_loss']:.4f}",
            f"{own['gap']:+.4f}",
        )
        for training, own in evaluation["histories"].items()
    ]
    header = (
        "Training",
        "Epochs",
        "Best",
        "Training loss, first to last",
        "Val loss, first to best",
        "Gap at the best epoch",
    )
    return table(header, rows)


def learning_curves(material: Material) -> Figure:
    """A column each training: losses, val AUROC, learning rate, against the epoch; the saved epoch is marked."""
    histories = material.results.histories
    figure = Figure(figsize=(max(11, 11 / 3 * len(histories)), 7.2), dpi=DPI, layout="constrained")
    axes = figure.subplots(3, len(histories), squeeze=False, sharex="col")
    for column, (training, history) in enumerate(histories.items()):
        epochs = history["epochs"]
        numbers = [epoch["epoch"] for epoch in epochs]
        losses, val, rates = axes[:, column]
        losses.plot(
            numbers, [epoch["train_loss"] for epoch in epochs], "s--", color="#0072B2", ms=3.5, label="training"
        )
        losses.plot(numbers, [epoch["val_loss"] for epoch in epochs], "o-", color="black", ms=3.5, label="val")
        val.plot(numbers, [epoch["val_auroc"] for epoch in epochs], "o-", color="black", ms=3.5)
        rates.step(numbers, [epoch["lr"] for epoch in epochs], "k-", where="mid")
        rates.set_yscale("log")
        rates.set_xlabel("epoch")
        rates.xaxis.get_major_locator().set_params(integer=True)
        average = history.get("average") or {}
        saved = average["epochs"] if average.get("kept") else [history["best_epoch"]]
        for each, epoch in product((losses, val, rates), saved):
            each.axvline(epoch, color="#D55E00", linestyle=":", zorder=0)
        which = "best epoch" if len(saved) == 1 else "mean of epochs"
        numbered = ", ".join(f"{round(each, 2)}" for each in saved)
        stopped = ", stopped early" if history["stopped_early"] else ""
        losses.set_title(
            f"{label(training)} (n = {history['train_images']:,} training images)\n"
            f"{which} {numbered} of {round(epochs[-1]['epoch'], 2)}{stopped} (dotted)"
        )
        if column == 0:
            for each, quantity in zip(axes[:, 0], ("loss", "macro AUROC on val", "learning rate"), strict=True):
                each.set_ylabel(quantity)
    axes[0, 0].legend()
    return figure


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    return [_histories(material.results.evaluation), *figures.values()]


SECTION = Section(
    "Training",
    content,
    {
        "learning_curves": Drawing(
            learning_curves, "Learning curves; the dotted line marks the epoch whose weights were kept."
        )
    },
)
