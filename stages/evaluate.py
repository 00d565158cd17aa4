"""Scores every model on test, calibrates on val; writes metrics, calibration, plots, the report and the model card,
all of them only where the audit of the run (stages.audit) passes."""

from pathlib import Path

from diagxnet.features.stacked import read_stacked
from diagxnet.params.checked import read_params, read_yaml
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.params.seed import Seed
from diagxnet.statistics.scoring import Scoring
from stages.audit import check
from stages.running import run


def main() -> None:
    params = read_params(seed=Seed, evaluate=EvaluateParams)
    test = read_stacked(Path("data/stacked"), "test")
    models = ", ".join((*test.members, "their average and the ensemble"))
    print(f"evaluate: {models} on {len(test.rows):,} test images, by {params.evaluate.unit}", flush=True)
    # torch, pandas, scikit-learn and matplotlib take seconds to import
    from diagxnet.reporting.evaluate import evaluate
    from diagxnet.reporting.wording import means_text
    from diagxnet.statistics.comparison import model_table, verdict_sentence

    results = evaluate(
        data=Path("data"),
        models=Path("models"),
        metrics=Path("metrics"),
        plots=Path("plots"),
        params=read_yaml(Path("params.yaml")),
        scoring=Scoring(**params.evaluate.model_dump(), seed=params.seed),
        check=check,
    )
    print(model_table(results.evaluation))
    print(means_text(results.evaluation))
    print(verdict_sentence(results.evaluation["comparison"], "best_base"))


if __name__ == "__main__":
    run("evaluate", main)
