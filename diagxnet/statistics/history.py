"""The guide's indicators of a successful training, read from the histories and the metrics."""

from itertools import pairwise

from diagxnet.data.members import FIRST as BASE_MODELS
from diagxnet.statistics.comparison import LABELS

TRAININGS = (*BASE_MODELS, "meta")
STEADY = 0.8
"""Share of epochs whose training loss must be below the one before for it to fall "steadily"."""

SMALL_GAP = 0.1
"""The guide's bound on val loss minus training loss."""

BETTER_SHARE = 10 / 14
"""The guide's share of findings on which the ensemble must be ahead of the best base model."""


def history_figures(history: dict) -> dict[str, float]:
    """Figures of one training_history.json: first, last, best losses, share of falling epochs, gap at the best epoch.

    `falling_share` is over steps from one epoch to the next; with one epoch only there is none, and it is 0.
    """
    epochs = history["epochs"]
    train = [epoch["train_loss"] for epoch in epochs]
    best = epochs[history["best_epoch"] - 1]
    falls = [after < before for before, after in pairwise(train)]
    return {
        "epochs_run": len(epochs),
        "best_epoch": history["best_epoch"],
        "first_train_loss": train[0],
        "last_train_loss": train[-1],
        "first_val_loss": epochs[0]["val_loss"],
        "best_val_loss": best["val_loss"],
        "falling_share": sum(falls) / max(len(falls), 1),
        "gap": best["val_loss"] - best["train_loss"],
    }


def training_metrics(history: dict) -> dict[str, float | int | None]:
    """Content of metrics/MODEL.json, from its training_history.json: the best epoch, its losses and AUROC on val."""
    best = history["epochs"][history["best_epoch"] - 1]
    return {
        "best_epoch": history["best_epoch"],
        "epochs_run": history["epochs_run"],
        "best_train_loss": min(record["train_loss"] for record in history["epochs"]),
        "best_val_loss": best["val_loss"],
        "val_auroc": best["val_auroc"],
    }


def indicators(figures: dict[str, dict[str, float]], comparison: dict) -> list[dict[str, object]]:
    """The guide's success indicators as rows {"indicator", "target", "found", "met"}.

    figures: `history_figures` by training. comparison: see `comparison.comparison`.
    """
    rows = []
    names = LABELS | {"meta": "Meta-learner"}
    for training, own in figures.items():
        name = names[training]
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
    for base in BASE_MODELS:
        difference = comparison[f"ensemble_minus_{base}"]["auroc"]["macro"]["difference"]
        rows.append(
            _row(f"Ensemble's macro AUROC above {LABELS[base]}'s", "above 0", f"{difference:+.4f}", difference > 0)
        )
    better, compared = comparison["findings_better"], comparison["findings_compared"]
    rows.append(
        _row(
            "Findings on which the ensemble is above the best base model",
            f"at least {BETTER_SHARE:.0%} (10 of 14)",
            f"{better} of {compared}",
            better >= BETTER_SHARE * compared,
        )
    )
    return rows


def _row(indicator: str, target: str, found: str, met: bool) -> dict[str, object]:
    return {"indicator": indicator, "target": target, "found": found, "met": bool(met)}
