"""The trainings' histories, and the guide's indicators of a successful one, read from them and the metrics."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json
from diagxnet.data.members import FIRST, MORE, member_folder, table_configs
from diagxnet.statistics.comparison import label

OWN_FILES = (*FIRST, "meta")
"""Trainings whose metrics have a file each, which dvc.yaml names; those of all others are in metrics/more.json."""

STEADY = 0.8
"""Share of epochs whose training loss must be below the one before for it to fall "steadily"."""

SMALL_GAP = 0.1
"""The guide's bound on val loss minus training loss."""

BETTER_SHARE = 10 / 14
"""The guide's share of findings on which the ensemble must be better than the best base model."""


def read_histories(models: Path, members: Sequence[str]) -> dict[str, dict]:
    """training_history.json of each of `members` that was trained and of the meta-learner (`meta`), by name."""
    histories, tables = {}, table_configs(models, members)
    for name in (*(name for name in members if name not in tables), "meta"):
        path = member_folder(models, name) / "training_history.json"
        try:
            histories[name] = read_json(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file (get the whole models folder: dvc pull, or dvc repro)") from None
    return histories


def best_record(history: dict) -> dict:
    """The record of the best epoch of a training_history.json; KeyError where there is none."""
    return {record["epoch"]: record for record in history["epochs"]}[history["best_epoch"]]


def kept_record(history: dict) -> dict:
    """`best_record`, with the figures on val of the weights that are kept: of the mean of several where that is."""
    best, average = best_record(history), history.get("average") or {}
    return best | {key: average[key] for key in ("val_loss", "val_auroc") if average.get("kept")}


def epoch_losses(records: Sequence[Mapping[str, Any]]) -> list[float]:
    """The training loss of each epoch, of `records` of epochs or, under train.val_every, of parts of them."""
    parts: dict[int, list[tuple[float, float]]] = {}
    for before, record in pairwise([{"epoch": 0}, *records]):
        size = record["epoch"] - before["epoch"]
        parts.setdefault(ceil(record["epoch"]), []).append((record["train_loss"], size))
    return [sum(loss * size for loss, size in own) / sum(size for _, size in own) for own in parts.values()]


def history_figures(history: dict) -> dict[str, float]:
    """Figures of one training_history.json: first, last, best losses, share of falling epochs, gap at the best epoch.

    `falling_share` is over steps from one epoch to the next; with one only there is none, and it is 0.
    """
    epochs = history["epochs"]
    train = epoch_losses(epochs)
    best = best_record(history)
    falls = [after < before for before, after in pairwise(train)]
    return {
        "epochs_run": epochs[-1]["epoch"],
        "best_epoch": history["best_epoch"],
        "first_train_loss": train[0],
        "last_train_loss": train[-1],
        "first_val_loss": epochs[0]["val_loss"],
        "best_val_loss": best["val_loss"],
        "falling_share": sum(falls) / max(len(falls), 1),
        "gap": best["val_loss"] - best["train_loss"],
    }


def training_metrics(history: dict) -> dict[str, float | int | None]:
    """The best epoch of a training_history.json, and loss and AUROC on val of the weights that are kept."""
    best = kept_record(history)
    return {
        "best_epoch": history["best_epoch"],
        "epochs_run": history["epochs_run"],
        "best_train_loss": min(record["train_loss"] for record in history["epochs"]),
        "best_val_loss": best["val_loss"],
        "val_auroc": best["val_auroc"],
    }


def metrics_files(trainings: Mapping[str, Any]) -> dict[str, Any]:
    """`training_metrics` by training as what is written to metrics/NAME.json, by NAME: empty for one of OWN_FILES that
    is left out; `more` holds those without a file of their own, by name."""
    files = {name: trainings.get(name, {}) for name in OWN_FILES}
    return files | {MORE: {name: own for name, own in trainings.items() if name not in OWN_FILES}}


def indicators(figures: dict[str, dict[str, float]], comparison: dict) -> list[dict[str, object]]:
    """The guide's success indicators as rows {"indicator", "target", "found", "met"}.

    figures: `history_figures` by training. comparison: see `comparison.comparison`.
    """
    rows = []
    for training, own in figures.items():
        name = label(training)
        steady = own["falling_share"] >= STEADY and own["last_train_loss"] < own["first_train_loss"]
        rows += [
            _row(
                f"{name}: training loss falls steadily",
                f"in at least {STEADY:.0%} of epochs",
                f"{own['first_train_loss']:.4f} to {own['last_train_loss']:.4f}, in {own['falling_share']:.0%}",
                steady,
            ),
            _row(
                f"{name}: val loss falls",
                "best below first",
                f"{own['first_val_loss']:.4f} to {own['best_val_loss']:.4f}",
                own["best_val_loss"] < own["first_val_loss"],
            ),
            _row(
                f"{name}: small gap at the best epoch",
                f"val - training loss below {SMALL_GAP}",
                f"{own['gap']:+.4f}",
                own["gap"] < SMALL_GAP,
            ),
        ]
    for name in figures:
        if name != "meta":
            ahead = comparison[f"ensemble_minus_{name}"]["auroc"]["macro"]["difference"]
            rows.append(_row(f"Ensemble's macro AUROC above {label(name)}'s", "above 0", f"{ahead:+.4f}", ahead > 0))
    better, ahead, compared = (comparison[f"findings_{name}"] for name in ("better", "ahead", "compared"))
    rows.append(
        _row(
            "Findings on which the ensemble is better than the best base model",
            f"at least {BETTER_SHARE:.0%} (10 of 14)",
            f"{better} of {compared}; ahead, be it by chance, on {ahead}",
            better >= BETTER_SHARE * compared,
        )
    )
    return rows


def _row(indicator: str, target: str, found: str, met: bool) -> dict[str, object]:
    return {"indicator": indicator, "target": target, "found": found, "met": bool(met)}
