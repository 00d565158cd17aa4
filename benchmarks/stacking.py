"""Is stacking worth it, and which kind? Whole trainings over several seeds, on one data set.

    python -m benchmarks.stacking seeds --root data/demo --folder /somewhere --seeds 5
    python -m benchmarks.stacking seeds --root data/demo --folder /somewhere --seeds 5 --recipe baseline
    python -m benchmarks.stacking unfrozen --root data/demo --folder /somewhere --seeds 5
    python -m benchmarks.stacking table --root /your/nih-cxr-1k --folder /somewhere --size 64
    python -m benchmarks.stacking settings --folder /somewhere
    python -m benchmarks.stacking speed --folder /somewhere

`seeds` trains everything as params.yaml says (or a recipe, on top of it) from one `seed` after the other, on the same
splits, and prints each model's figures on test, the ensemble's differences from the best base model (chosen on val) and
from the plain average with the bootstrap's standard error, and their mean and spread over the seeds.

`unfrozen` trains two meta-learners on each seed's base models, under holdout and in fp32: one on the stored logits, and
one as the predecessor did, on base models that are frozen but left in training mode, whose BatchNorm normalises by the
batch and goes on moving while the meta-learner learns. It prints how much that changes on test.

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
import torch
from torch import Tensor, nn

from benchmarks.data import pack_into
from diagxnet.console.progress import Progress
from diagxnet.data.files import write_arrays, write_json
from diagxnet.data.findings import FINDINGS, KEYS
from diagxnet.data.members import FIRST, member_folder
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import Labels, read_labels
from diagxnet.features.stack import stack_features
from diagxnet.features.stacked import STACKED_SPLITS, write_stacked
from diagxnet.labels.prepare import prepare
from diagxnet.params.checked import read_yaml
from diagxnet.recipe import check_recipe, read_recipe
from diagxnet.stacking.learners import create_meta
from diagxnet.stacking.train import train_meta
from diagxnet.statistics.comparison import best_base, val_auroc
from diagxnet.statistics.scored import read_scored
from diagxnet.statistics.uncertainty import Estimates, compare, estimate, mean_resamples
from diagxnet.training.base import train_base
from diagxnet.training.checkpoint import save_model
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.loop import Examples, fit
from diagxnet.training.networks import load_base
from diagxnet.training.precision import create_accelerator
from diagxnet.training.resume import ResumeState
from stages import base_model
from stages import train_meta as meta_stage
from stages.running import peak_memory

ARCHS = ("mlp", "linear", "attention")
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
    data = params.data.model_dump()
    pack_into(Path(data.pop("root")), folder / "data", data.pop("image_size"))
    del data["bad_images"]
    prepare(params.data.root, folder / "data/packed", folder / "data/prepared", **data)


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
    )
    return time.perf_counter() - started


def train_on_top(params: SimpleNamespace, folder: Path) -> None:
    """The meta-learner of `params` into `folder`/models/meta."""
    recipe, arch, options = meta_stage.options(params)
    folders = {"stacked": folder / "data/stacked", "prepared": folder / "data/prepared"}
    folders |= {"folder": folder / "models/meta", "resume": folder / "resume/meta"}
    members = {"seeds": params.meta.ensemble_seeds, "crossfit": params.stack.method == "crossfit"}
    run_out(train_meta(recipe, arch=arch, options=options, **members, **folders))


def figures(folder: Path) -> dict[str, Any]:
    """Macro AUROC and AUPRC of every model on val and test, and the ensemble's paired differences on test."""
    val, test = (read_scored(folder / "data", folder / "models", split, "image") for split in ("val", "test"))
    best = best_base(val.members, val_auroc(val))
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


class LiveFeatures:
    """What the meta-learner reads where each epoch runs the frozen base models again, and leaves them in training mode.

    In training, `train` puts BatchNorm and dropout of the base models into training mode, as a whole ensemble's
    `train()` does; in evaluation they are in evaluation mode, with the statistics as they have become by then.
    """

    def __init__(self, models: list[nn.Module], source: ImageSource) -> None:
        self.models, self.source = models, source

    def read(self, examples: np.ndarray) -> Tensor:
        return self.source.read(examples)

    def finish(self, raw: Tensor, examples: np.ndarray, epoch: int | None) -> Tensor:
        images = self.source.finish(raw, examples, None)
        with torch.no_grad():
            return torch.stack([model.train(epoch is not None)(images).float() for model in self.models], dim=1)


def train_on_unfrozen(params: SimpleNamespace, folder: Path, fault: Path) -> None:
    """A meta-learner on base models in training mode into `fault`/models, with the logits of what these have become."""
    recipe, arch, options = meta_stage.options(params)
    images = open_packed(folder / "data/packed")
    accelerator = create_accelerator("fp32")
    members = base_model.members(params)
    models = [load_base(member_folder(folder / "models", name)).to(accelerator.device) for name in members]
    labels = {split: read_labels(folder / "data/prepared", split) for split in STACKED_SPLITS}

    def examples(own: Labels) -> Examples:
        return Examples(LiveFeatures(models, ImageSource(images, own.rows)), own.targets, own.mask)

    torch.manual_seed(recipe.seed)
    meta = create_meta(arch, len(members), **options)
    state = ResumeState(fault / "resume", "benchmark")
    state.remove()  # another seed's, where a run was killed
    total = recipe.schedule.epochs * len(labels["stack"].rows)
    with Progress(total, "in training mode") as progress:
        splits = examples(labels["stack"]), examples(labels["val"])
        run_out(fit(meta, *splits, recipe, accelerator=accelerator, state=state, progress=progress))
    state.remove()
    config = {"arch": arch, "options": options, "models": list(members), "findings": list(FINDINGS), "members": 1}
    save_model(fault / "models/meta", meta, config, {})
    for split in ("val", "test"):
        rows = labels[split].rows
        source = ImageSource(images, rows)
        logits = [predict_logits(model, source, len(rows), batch_size=64, accelerator=accelerator) for model in models]
        write_stacked(fault / "data/stacked", split, rows, dict(zip(members, logits, strict=True)))
    link_labels(folder, fault)


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


def unfrozen(arguments: argparse.Namespace) -> list[dict]:
    results = []
    fixed = {"stack.method": "holdout", "train.precision": "fp32", "meta.ensemble_seeds": 1}
    for values in values_of_seeds(arguments, fixed):
        params = params_with(values)
        train_bases(params, arguments.folder)
        train_on_top(params, arguments.folder)
        frozen = figures(arguments.folder)["test"]
        train_on_unfrozen(params, arguments.folder, arguments.folder / "fault")
        results.append({"seed": params.seed, "frozen": frozen, "unfrozen": figures(arguments.folder / "fault")["test"]})
        write_json(arguments.folder / "unfrozen.json", results)
        print(json.dumps(results[-1]), flush=True)
    models = list(results[0]["frozen"])
    print_row("change by training mode, on test", models)
    print_row("---", ["---:"] * len(models))
    for metric in METRICS:
        changes = [
            [own["unfrozen"][model][metric] - own["frozen"][model][metric] for own in results] for model in models
        ]
        print_row(f"macro {metric.upper()}", [mean_and_spread(own) for own in changes])
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
    for arch, inputs, rate in itertools.product(ARCHS, ("logits", "probabilities"), RATES):
        own = {"meta.arch": arch, "meta.inputs": inputs, "meta.lr": rate, "meta.epochs": 40}
        scores = []
        for folder in kept:
            params = params_with(own | {"seed": int(folder.name.split()[1])})
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                train_on_top(params, folder)
            scores.append(val_figures(folder))
        result = {key: float(np.mean([each[key] for each in scores])) for key in scores[0]}
        results.append(own | result | {"kept": len(kept)})
        print_row(arch, [inputs, f"{rate:g}", *(f"{value:+.4f}" for value in result.values())])
        write_json(arguments.folder / "settings.json", results)
    return results


def val_figures(folder: Path) -> dict[str, float]:
    """Macro figures of the ensemble on val, and what it is ahead of the best base model and of the average by."""
    val = read_scored(folder / "data", folder / "models", "val", "image")
    best = best_base(val.members, val_auroc(val))
    estimates = estimate(val, resamples=1, seed=0)
    macro = macros(estimates)
    result = dict(macro["ensemble"])
    for name, other in zip(OTHERS, (best, "average"), strict=True):
        result |= {f"{metric} - {name}": macro["ensemble"][metric] - macro[other][metric] for metric in METRICS}
    return result


def speed(arguments: argparse.Namespace) -> list[dict]:
    """Seconds and peak memory of `train_meta`, 20 epochs without early stopping, in a process of its own each."""
    make_logits(arguments.folder)
    results = []
    for batch_size in (16, 512):
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        process = context.Process(target=time_meta, args=(arguments.folder, batch_size, queue))
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
    for split in ("stack", "val"):
        rows = np.arange(CHEXPERT_STACK_ROWS)
        targets = (chance.random((len(rows), len(KEYS))) < 0.2).astype(np.float32)
        logits = {name: (chance.normal(size=targets.shape) + targets).astype(np.float32) for name in FIRST}
        write_stacked(folder / "data/stacked", split, rows, logits)
        mask = chance.random(targets.shape) < 0.9
        write_arrays(folder / "data/prepared" / f"labels_{split}.npz", rows=rows, targets=targets, mask=mask)


def time_meta(folder: Path, batch_size: int, results: multiprocessing.Queue) -> None:
    own = {"meta.batch_size": batch_size, "meta.epochs": 20, "meta.patience": None, "stack.method": "holdout"}
    params = params_with(own)
    started = time.perf_counter()
    train_on_top(params, folder)
    seconds = round(time.perf_counter() - started, 1)
    results.put({"batch size": batch_size, "seconds": seconds, **peak_memory()})


PARTS = (seeds, unfrozen, table, settings, speed)


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
