"""The README's figure: macro AUROC of every model in two recorded runs, with 95% intervals.

    python -m benchmarks.figure baseline optimized docs/baseline-optimized.svg

reads metrics/evaluation.json of both: commits, branches or experiments (`workspace` is the working copy).
"""

import argparse
import json
import subprocess
from pathlib import Path

import matplotlib
from dvc.repo import Repo
from dvc.scm import SCMError, resolve_rev
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from diagxnet.data.files import replacing
from diagxnet.statistics.comparison import label, models_of

METRICS = "metrics/evaluation.json"
STYLES = (("#D55E00", "s"), ("#0072B2", "o"))
"""Colour (Okabe and Ito's) and marker of the first run and of the second."""


def read_evaluation(rev: str) -> dict:
    """Content of metrics/evaluation.json at the revision or experiment `rev`."""
    if rev == "workspace":
        return json.loads(Path(METRICS).read_text(encoding="utf-8"))
    with Repo() as repo:
        commit = resolve_rev(repo.scm, rev)
    shown = subprocess.run(["git", "show", f"{commit}:{METRICS}"], capture_output=True, encoding="utf-8", check=True)
    return json.loads(shown.stdout)


def draw(runs: dict[str, dict]) -> Figure:
    """A row for each model that all runs have, a marker with its interval for each run. runs: evaluations by name."""
    first, second = (models_of(evaluation) for evaluation in runs.values())
    models = [name for name in first if name in second]
    figure = Figure(figsize=(6.4, 0.5 + 0.5 * len(models)), layout="constrained")
    axes = figure.subplots()
    for place, ((name, evaluation), (colour, marker)) in enumerate(zip(runs.items(), STYLES, strict=True)):
        for row, model in enumerate(models):
            auroc = evaluation[model]["auroc"]
            value, ci = auroc["macro"], auroc["ci"]["macro"]
            y = row + 0.26 * (place - 0.5)
            axes.plot([ci["lower"], ci["upper"]], [y, y], color=colour, linewidth=1.6)
            axes.plot([value], [y], marker, color=colour, markersize=5, label=name if row == 0 else None)
            text = f"{value:.3f}"
            axes.annotate(text, (ci["upper"], y), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(0.5, color="0.6", linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(models)), map(label, models))
    axes.set(ylim=(len(models) - 0.5, -0.5), xlim=(0.4, 1.0), xlabel="macro AUROC on test, 95% interval; 0.5 is chance")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    return figure


def write(runs: dict[str, dict], path: Path) -> None:
    """Writes the figure as SVG, whose bytes depend on `runs` alone."""
    with matplotlib.rc_context({"svg.hashsalt": "diagxnet", "svg.fonttype": "none"}), replacing(path) as temporary:
        FigureCanvasSVG(draw(runs)).print_svg(temporary, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figure", description=__doc__.splitlines()[0])
    parser.add_argument("first", help="revision or experiment")
    parser.add_argument("second", help="revision or experiment")
    parser.add_argument("path", type=Path, help="SVG file to write")
    arguments = parser.parse_args()
    try:
        runs = {rev: read_evaluation(rev) for rev in (arguments.first, arguments.second)}
    except SCMError as error:
        parser.error(f"{error} (list them: dvc exp show, git log)")
    write(runs, arguments.path)


if __name__ == "__main__":
    main()
