"""The README's figure."""

from pathlib import Path

from benchmarks.figure import write
from diagxnet.statistics.comparison import label

MODELS = ("densenet", "convnext", "average", "ensemble")


def evaluation(auroc: float) -> dict:
    ci = {"macro": {"lower": auroc - 0.02, "upper": auroc + 0.03}}
    return {model: {"auroc": {"macro": auroc, "ci": ci}} for model in MODELS}


def test_it_names_runs_models_and_values_and_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    runs = {"before": evaluation(0.6123), "after": evaluation(0.8)}
    write(runs, tmp_path / "first.svg")
    write(runs, tmp_path / "second.svg")
    text = (tmp_path / "first.svg").read_text(encoding="utf-8")
    assert text.count(">0.612<") == len(MODELS)
    assert text.count(">0.800<") == len(MODELS)
    for name in (*runs, *map(label, MODELS)):
        assert f">{name}<" in text
    assert (tmp_path / "second.svg").read_bytes() == (tmp_path / "first.svg").read_bytes()
