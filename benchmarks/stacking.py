"""Is stacking worth it, and which kind? Whole trainings over several seeds, on one data set.

    python -m benchmarks.stacking seeds --root data/demo --folder /somewhere --seeds 5
    python -m benchmarks.stacking seeds --root data/demo --folder /somewhere --seeds 5 --recipe baseline
    python -m benchmarks.stacking chexpert --root /your/chexpert-test-predictions --folder /somewhere
    python -m benchmarks.stacking table --root /your/nih-cxr-1k --folder /somewhere --size 64
    python -m benchmarks.stacking settings --folder /somewhere
    python -m benchmarks.stacking speed --folder /somewhere

`seeds` trains everything as params.yaml says (or a recipe, on top of it) from one `seed` after the other, on the same
splits, and prints each model's figures on test, the ensemble's differences from the best base model (chosen on val) and
from the plain average with the bootstrap's standard error, and their mean and spread over the seeds.

`chexpert` takes the scores of ten models of the CheXpert competition for 500 studies (the public repository
rajpurkarlab/cheXpert-test-set-labels) as members: five folds of patients, six times, the core and the core with a
network learned on four of them and compared with the mean of ranks and the best model on the fifth.

`table` trains the base models under holdout and under crossfit, and each meta-learner on top of both. A choice between
them is made by val; test is printed beside it. `settings` trains meta-learners of many settings on the logits that the
parts before (`seeds`, `table`) kept in the same folder for params.yaml's stack.method, which should be of one data set,
size and recipe, and prints figures on val alone, to choose by. `speed` times `train_meta` on made-up logits of
CheXpert's size.
"""

import argparse
import contextlib
import io
import itertools
import json
import multiprocessing
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.data import pack_into
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_arrays, write_json
from diagxnet.data.members import FIRST, member_folder
from diagxnet.data.prepared import COLUMNS, write_findings
from diagxnet.features.stack import stack_features
from diagxnet.features.stacked import write_stacked
from diagxnet.labels.prepare import prepare
from diagxnet.params.checked import read_yaml
from diagxnet.params.meta import ARCHS, NETWORKS
from diagxnet.recipe import check_recipe, read_recipe
from diagxnet.stacking.learners import apply_meta, load_meta
from diagxnet.stacking.train import train_meta
from diagxnet.statistics.comparison import best_base, val_figures
from diagxnet.statistics.scored import LEFT_OUT, read_scored
from diagxnet.statistics.uncertainty import Estimates, compare, estimate, mean_resamples
from diagxnet.training.auroc import macro_auroc
from diagxnet.training.base import train_base
from stages import base_model
from stages import prepare as prepare_stage
from stages import train_meta as meta_stage
from stages.running import peak_memory

METHODS = ("holdout", "crossfit")
METRICS = ("auroc", "auprc")
OTHERS = ("best base", "average")
"""What the ensemble is compared with."""

RESAMPLES = 1000
RATES = (1e-4, 1e-3, 3e-3, 1e-2)
CHEXPERT_STACK_ROWS = 38_000


def params_with(values: dict[str, Any]) -> SimpleNamespace:
    """params.yaml with other values by dotted key, checked as a whole."""
    return SimpleNamespace(**check_recipe(values, read_yaml(Path("params.yaml")), "benchmark"))


def prepare_data(params: SimpleNamespace, folder: Path) -> None:
    """Packs and prepares `data.root` into `folder`/data, once for all trainings."""
    data = params.data
    pack_into(Path(data.root), folder / "data", data.image_size)
    own = prepare_stage.options(data, params.evaluate.subgroups)
    prepare(data.root, folder / "data/packed", folder / "data/prepared", **own)


def run_out(epochs: Iterable) -> None:
    for _ in epochs:
        pass


def train_bases(params: SimpleNamespace, folder: Path) -> float:
    """The base models into `folder`/models and their logits into `folder`/data/stacked; the seconds it took."""
    started = time.perf_counter()
    folders = {"packed": folder / "data/packed", "prepared": folder / "data/prepared"}
    members = base_model.members(params)
    for name, member in members.items():
        recipe, network, precision = base_model.options(params, member)
        outputs = {"folder": member_folder(folder / "models", name), "resume": folder / "resume" / name}
        augmentation = params.augment.model_dump()
        own = {"augmentation": augmentation, "precision": precision, "folds": base_model.folds(params)}
        own["seeds"] = member.seeds
        run_out(train_base(name, recipe, **network, **own, **folders, **outputs))
    stack_features(
        [*members],
        folder / "models",
        *folders.values(),
        folder / "data/stacked",
        precision=params.train.precision,
        batch_size=params.stack.batch_size,
        views=params.stack.views,
    )
    return time.perf_counter() - started


def train_on_top(params: SimpleNamespace, folder: Path) -> None:
    """The meta-learner of `params` into `folder`/models/meta."""
    recipe, arch, network = meta_stage.options(params)
    folders = {"stacked": folder / "data/stacked", "prepared": folder / "data/prepared"}
    folders |= {"folder": folder / "models/meta", "resume": folder / "resume/meta"}
    folders |= {"left_out": folder / "data" / LEFT_OUT}
    counts = {"seeds": params.meta.ensemble_seeds, "folds": base_model.folds(params), "views": params.stack.views}
    run_out(train_meta(recipe, arch=arch, options=network, **counts, **folders))


def figures(folder: Path) -> dict[str, Any]:
    """Macro AUROC and AUPRC of every model on val and test, and the ensemble's paired differences on test."""
    val, test = (read_scored(folder / "data", folder / "models", split, "image") for split in ("val", "test"))
    best = best_base(val.members, val_figures(val))
    estimates = {"val": estimate(val, resamples=1, seed=0), "test": estimate(test, resamples=RESAMPLES, seed=0)}
    result: dict[str, Any] = {"best_base": best}
    for split, own in estimates.items():
        result[split] = macros(own)
    for name, other in (("best base", best), ("average", "average")):
        result[f"minus {name}"] = {metric: difference(estimates["test"], other, metric) for metric in METRICS}
    return result


def macros(estimates: Estimates) -> dict[str, dict[str, float]]:
    """{model: {metric: mean over the findings}}."""
    return {
        model: {metric: float(np.mean(list(own[metric].values.values()))) for metric in METRICS}
        for model, own in estimates.items()
    }


def difference(estimates: Estimates, other: str, metric: str) -> dict[str, float]:
    """Ensemble minus `other`, macro, with the standard error of the paired bootstrap."""
    ours, theirs = estimates["ensemble"][metric], estimates[other][metric]
    keys = list(ours.values)
    resamples = mean_resamples(ours, keys) - mean_resamples(theirs, keys)
    return {"difference": compare(ours, theirs)["macro"]["difference"], "error": float(np.std(resamples, ddof=1))}


def link_labels(folder: Path, other: Path) -> None:
    if not (other / "data/prepared").exists():
        (other / "data/prepared").symlink_to((folder / "data/prepared").resolve())


def keep_logits(folder: Path, name: str) -> None:
    """Copies the stacked logits to `folder`/kept/NAME, for `settings`."""
    kept = folder / "kept" / name
    shutil.copytree(folder / "data/stacked", kept / "data/stacked", dirs_exist_ok=True)
    link_labels(folder, kept)


def seeds(arguments: argparse.Namespace) -> list[dict]:
    own = read_recipe(arguments.recipe) if arguments.recipe else {}
    results = []
    for values in values_of_seeds(arguments, own):
        params = params_with(values)
        seconds = train_bases(params, arguments.folder)
        keep_logits(arguments.folder, f"{params.stack.method} {params.seed}")
        train_on_top(params, arguments.folder)
        known = {"seed": params.seed, "seconds of the base models": seconds}
        results.append(known | figures(arguments.folder))
        write_json(arguments.folder / "seeds.json", results)
        print(json.dumps(results[-1]), flush=True)
    print_seeds(results)
    return results


def values_of_seeds(arguments: argparse.Namespace, own: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """`own` values for one seed after the other, to lay over params.yaml; prepares the data once, before the first."""
    own = own | {"data.root": str(arguments.root)} | ({"data.image_size": arguments.size} if arguments.size else {})
    prepare_data(params_with(own), arguments.folder)
    for number in range(arguments.seeds):
        yield own | {"seed": params_seed() + number}


def params_seed() -> int:
    return read_yaml(Path("params.yaml"))["seed"]


def print_seeds(results: list[dict]) -> None:
    models = list(results[0]["test"])
    for metric in METRICS:
        print(f"\n| test, macro {metric.upper()} | {' | '.join(models)} | - {' | - '.join(OTHERS)} |")
        print("|---" + "| ---: " * (len(models) + len(OTHERS)) + "|")
        for result in results:
            cells = [f"{result['test'][model][metric]:.3f}" for model in models]
            cells += [with_error(result[f"minus {name}"][metric]) for name in OTHERS]
            print_row(f"seed {result['seed']}", cells)
        columns = [[result["test"][model][metric] for result in results] for model in models]
        columns += [[result[f"minus {name}"][metric]["difference"] for result in results] for name in OTHERS]
        print_row("mean", [f"{np.mean(column):.4f}" for column in columns])
        if len(results) > 1:
            print_row("standard deviation", [f"{np.std(column, ddof=1):.4f}" for column in columns])


def print_row(name: str, cells: list[str]) -> None:
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def mean_and_spread(values: Sequence[float], sign: str = "+") -> str:
    """Mean ± standard deviation; sign: `+` of a difference, `-` of a level."""
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):{sign}.3f}{spread}"


def with_error(own: dict[str, float]) -> str:
    return f"{own['difference']:+.4f} ± {own['error']:.4f}"


def table(arguments: argparse.Namespace) -> list[dict]:
    results, rows = [], {}
    for values in values_of_seeds(arguments, {}):
        for method in METHODS:
            own = values | {"stack.method": method}
            seconds = train_bases(params_with(own), arguments.folder)
            keep_logits(arguments.folder, f"{method} {own['seed']}")
            for arch in ARCHS:
                train_on_top(params_with(own | {"meta.arch": arch}), arguments.folder)
                result = figures(arguments.folder)
                known = {"seed": own["seed"], "method": method, "seconds of the base models": seconds, "arch": arch}
                results.append(known | result)
                rows.setdefault((method, arch), []).append(table_row(result, "ensemble"))
            for model in list(result["test"])[:-1]:
                rows.setdefault((method, model), []).append(table_row(result, model))
            print(f"seed {own['seed']}, {method}: base models and features in {seconds:.0f} s", flush=True)
            write_json(arguments.folder / "table.json", results)
    columns = [f"{split} {metric.upper()}" for split in ("val", "test") for metric in METRICS]
    columns += [f"test {metric.upper()} - average" for metric in METRICS]
    print_row(f"mean ± standard deviation, seeds: {arguments.seeds}", ["", *columns])
    print_row("---", ["---", *["---:"] * len(columns)])
    for (method, name), own in rows.items():
        cells = [
            mean_and_spread(values, "-" if place < 4 else "+") for place, values in enumerate(zip(*own, strict=True))
        ]
        print_row(method, [name, *cells])
    return results


def table_row(result: dict, model: str) -> list[float]:
    """Macro figures of `model` on val and test; of the ensemble also its lead over the average, on test."""
    row = [result[split][model][metric] for split in ("val", "test") for metric in METRICS]
    lead = [result["minus average"][metric]["difference"] for metric in METRICS]
    return row + lead if model == "ensemble" else row


def settings(arguments: argparse.Namespace) -> list[dict]:
    """Each setting on each kept set of logits: mean macro figures on val, and the mean difference from the average."""
    method = params_with({}).stack.method
    kept = sorted((arguments.folder / "kept").glob(f"{method} *"))
    if not kept:
        raise SystemExit(f"{arguments.folder}: no logits kept of {method} (run `seeds` or `table` into it first)")
    results = []
    header = ["meta-learner", "inputs", "rate", *(f"val {metric.upper()}" for metric in METRICS)]
    header += [f"{metric.upper()} - {other}" for other in OTHERS for metric in METRICS]
    print_row(header[0], header[1:])
    print_row("---", ["---:"] * (len(header) - 1))
    networks = itertools.product(NETWORKS, ("logits", "probabilities"), RATES)
    for arch, inputs, rate in (("convex", "logits", RATES[0]), *networks):
        own = {"meta.arch": arch, "meta.inputs": inputs, "meta.lr": rate, "meta.epochs": 40}
        scores = []
        for folder in kept:
            params = params_with(own | {"seed": int(folder.name.split()[1])})
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                train_on_top(params, folder)
            scores.append(ensemble_on_val(folder))
        result = {key: float(np.mean([each[key] for each in scores])) for key in scores[0]}
        results.append(own | result | {"kept": len(kept)})
        print_row(arch, [inputs, f"{rate:g}", *(f"{value:+.4f}" for value in result.values())])
        write_json(arguments.folder / "settings.json", results)
    return results


def ensemble_on_val(folder: Path) -> dict[str, float]:
    """Macro figures of the ensemble on val, and what it is ahead of the best base model and of the average by."""
    val = read_scored(folder / "data", folder / "models", "val", "image", left_out=True)
    best = best_base(val.members, val_figures(val))
    estimates = estimate(val, resamples=1, seed=0)
    macro = macros(estimates)
    result = dict(macro["ensemble"])
    for name, other in zip(OTHERS, (best, "average"), strict=True):
        result |= {f"{metric} - {name}": macro["ensemble"][metric] - macro[other][metric] for metric in METRICS}
    return result


def chexpert(arguments: argparse.Namespace) -> list[dict]:
    """Macro AUROC of five findings on the fifth fold: the core, the core with an `mlp`, and what they compare with."""
    scores, targets = read_competition(arguments.root)
    results = []
    for repeat in range(6):
        folds = np.random.default_rng(repeat).permutation(np.arange(len(targets)) % 5)
        for fold in range(5):
            learned, left = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            logits = ranks_among(scores[learned], scores)
            single = [
                macro_auroc(logits[learned, model], targets[learned], known(targets[learned])) for model in range(10)
            ]
            others = {"mean of ranks": logits.mean(1), "best on the other folds": logits[:, int(np.argmax(single))]}
            others["mean of probabilities"] = scores.mean(1)
            result: dict[str, float] = {"repeat": repeat}
            for arch in ("convex", "mlp"):
                model, result["factor"] = learn_on(arguments.folder, arch, logits[learned], targets[learned])
                others[arch] = apply_meta(model, torch.from_numpy(logits)).numpy()
            result |= {
                name: macro_auroc(own[left], targets[left], known(targets[left])) for name, own in others.items()
            }
            results.append(result)
    print_competition(results)
    return results


def read_competition(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scores [studies, models, findings] and targets [studies, findings]; of a finding without scores 0 and NaN."""
    truth = pd.read_csv(root / "groundtruth.csv", index_col="Study")
    models = [pd.read_csv(path, index_col="Study").loc[truth.index] for path in sorted((root / "models").glob("*.csv"))]
    scored = [finding in models[0] for finding in CHEXPERT.names]
    scores = np.stack([model.reindex(columns=CHEXPERT.names).fillna(0).to_numpy(float) for model in models], axis=1)
    return scores, np.where(scored, truth[list(CHEXPERT.names)].to_numpy(float), np.nan)


def known(targets: np.ndarray) -> np.ndarray:
    return ~np.isnan(targets)


def ranks_among(learned: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The rank of each score among `learned`, as float32 of mean 0 and spread 1: the models' scores are on scales of
    their own, and some are no probabilities."""
    ranks = np.empty(scores.shape)
    for place in np.ndindex(scores.shape[1:]):
        among, own = np.sort(learned[:, *place]), scores[:, *place]
        ranks[:, *place] = np.searchsorted(among, own, "left") + np.searchsorted(among, own, "right")
    return ((ranks / (2 * len(learned)) - 0.5) * np.sqrt(12)).astype(np.float32)


def learn_on(folder: Path, arch: str, logits: np.ndarray, targets: np.ndarray) -> tuple[nn.Module, float]:
    """A meta-learner on these studies, half of them as stack and half as val, and its correction's factor."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    rows = np.arange(len(targets))
    manifest = pd.DataFrame(index=rows, columns=COLUMNS).assign(row=rows, patient=rows)
    manifest["split"] = np.where(rows % 2, "val", "stack")
    for split in ("stack", "val"):
        own = rows[manifest["split"] == split]
        write_stacked(
            folder / "data/stacked", split, own, {f"model{m}": logits[own, m] for m in range(logits.shape[1])}
        )
        labels = {"targets": np.nan_to_num(targets[own]).astype(np.float32), "mask": known(targets[own])}
        write_arrays(folder / "data/prepared" / f"labels_{split}.npz", rows=own, **labels)
    manifest.to_csv(folder / "data/prepared/manifest.csv", index=False)
    write_findings(folder / "data/prepared", CHEXPERT)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        train_on_top(params_with({"meta.arch": arch, "stack.method": "holdout"}), folder)
    model = load_meta(folder / "models/meta")
    return model, float(model.factor)


def print_competition(results: list[dict]) -> None:
    names = [name for name in results[0] if name not in ("repeat", "factor")]
    print_row("repeat", [*names, "factor"])
    print_row("---", ["---:"] * (len(names) + 1))
    for repeat in sorted({result["repeat"] for result in results}):
        own = [result for result in results if result["repeat"] == repeat]
        print_row(str(repeat + 1), [f"{np.mean([each[name] for each in own]):.4f}" for name in [*names, "factor"]])
    print_row("mean", [f"{np.mean([each[name] for each in results]):.4f}" for name in [*names, "factor"]])


def speed(arguments: argparse.Namespace) -> list[dict]:
    """Seconds and peak memory of `train_meta`, 20 epochs without early stopping, in a process of its own each."""
    make_logits(arguments.folder)
    results = []
    for arch, batch_size in (("convex", 16), ("mlp", 16), ("mlp", 512)):
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        process = context.Process(target=time_meta, args=(arguments.folder, arch, batch_size, queue))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"train_meta ended with status {process.exitcode}")
        results.append(queue.get())
        print(json.dumps(results[-1]), flush=True)
    return results


def make_logits(folder: Path) -> None:
    """Stacked logits and labels of as many images as CheXpert's stack split has at 20%, and a val split as large."""
    chance = np.random.default_rng(0)
    (folder / "data/prepared").mkdir(parents=True, exist_ok=True)
    manifest = pd.DataFrame(index=range(2 * CHEXPERT_STACK_ROWS), columns=COLUMNS).assign(split="val")
    manifest["row"] = manifest.index
    manifest["patient"] = manifest.index // 4
    manifest.loc[: CHEXPERT_STACK_ROWS - 1, "split"] = "stack"
    manifest.to_csv(folder / "data/prepared/manifest.csv", index=False)
    write_findings(folder / "data/prepared", CHEXPERT)
    for split in ("stack", "val"):
        rows = manifest.index[manifest["split"] == split].to_numpy()
        targets = (chance.random((len(rows), len(CHEXPERT))) < 0.2).astype(np.float32)
        logits = {name: (chance.normal(size=targets.shape) + targets).astype(np.float32) for name in FIRST}
        write_stacked(folder / "data/stacked", split, rows, logits)
        mask = chance.random(targets.shape) < 0.9
        write_arrays(folder / "data/prepared" / f"labels_{split}.npz", rows=rows, targets=targets, mask=mask)


def time_meta(folder: Path, arch: str, batch_size: int, results: multiprocessing.Queue) -> None:
    own = {"meta.arch": arch, "meta.batch_size": batch_size, "meta.epochs": 20, "meta.patience": None}
    params = params_with(own | {"stack.method": "holdout"})
    started = time.perf_counter(), time.process_time()
    train_on_top(params, folder)
    wall, busy = (
        round(now - then, 1) for now, then in zip((time.perf_counter(), time.process_time()), started, strict=True)
    )
    results.put({"arch": arch, "batch size": batch_size, "seconds": wall, "seconds of CPU": busy, **peak_memory()})


PARTS = (seeds, table, settings, chexpert, speed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=[part.__name__ for part in PARTS])
    parser.add_argument("--root", type=Path, default=Path("data/demo"), help="a data set in CheXpert's layout")
    parser.add_argument("--folder", type=Path, required=True, help="scratch")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--size", type=int, help="data.image_size; params.yaml's own if not given")
    parser.add_argument("--recipe", help="of recipes/; `seeds` alone reads it")
    arguments = parser.parse_args()
    next(part for part in PARTS if part.__name__ == arguments.part)(arguments)


if __name__ == "__main__":
    main()
