"""Before an overnight run: prints rows, splits, disk, memory and hours to expect, what to set otherwise on this
machine, and every error known beforehand.

No stage of dvc.yaml: `python -m stages.preflight` writes nothing but the seconds that it expects, for `stages.outlook`.
"""

from pathlib import Path
from types import SimpleNamespace

import torch

from diagxnet.console.errors import InputError, problems_error
from diagxnet.console.progress import hours
from diagxnet.data.hierarchy import Hierarchy
from diagxnet.params.whole import read_all
from diagxnet.preflight.advice import advice
from diagxnet.preflight.plan import look_at_data, path_line, training_line
from diagxnet.preflight.rehearsal import CPU_STEP, Pace, rehearse_base, rehearse_meta, rows_a_second
from diagxnet.reading.columns import columns_of
from diagxnet.stacking.learners import create_meta
from diagxnet.training.networks import create_base
from stages import base_model, train_meta
from stages.notices import check_root
from stages.outlook import remember
from stages.running import peak_memory, run


def main() -> None:
    params = SimpleNamespace(**read_all())
    data = params.data.model_dump()
    columns = columns_of(data.pop("columns"), data.pop("findings"), params.evaluate.subgroups)
    problems, sizes = [], None
    try:
        check_root(data["root"], Path.cwd())
        mode, parents = data.pop("hierarchy"), data.pop("parents")
        data["hierarchy"] = Hierarchy.of(mode, columns.findings.keys, parents)
        later = {"subgroups": params.evaluate.subgroups, "given": params.tables}
        plan, found = look_at_data(data.pop("root"), **data, columns=columns, disk="data", **later)
        problems, sizes = found.problems, plan.splits
        print("\n".join(found.lines))
    except InputError as error:
        problems.append(str(error))
    try:
        _trainings(params, sizes)
    except InputError as error:
        problems.append(str(error))
    memory = peak_memory()
    if memory:
        steps = "" if torch.cuda.is_available() else f" with {CPU_STEP} images a step or fewer"
        peak = f"{memory['peak_memory_mib']:,.0f} MiB"
        print(f"memory: {peak} at most so far{steps}; it does not grow with the number of images")
    if problems:
        raise problems_error("this run would stop", problems, "mend these first")
    print("nothing found that would stop this run")


def _trainings(params: SimpleNamespace, sizes: dict[str, int] | None) -> None:
    """Prints what each training costs; `sizes`: images by split, None where they are not known."""
    known, sizes = sizes is not None, sizes or {"train": 0, "val": 0, "stack": 0, "test": 0}
    expected, features = {}, 0.0
    findings = len(params.data.findings)
    folds = base_model.folds(params)
    learned, stacked, models = sizes["train"], sizes["stack"], 1
    if folds is not None:
        stacked, models = sizes["train"] + sizes["stack"], folds
        learned = stacked * (folds - 1) // folds
    members, paces = base_model.members(params), {}
    for name, member in members.items():
        recipe, network, precision = base_model.options(params, member)
        model = create_base(**network, findings=findings, image_size=params.data.image_size)
        augmentation = params.augment.model_dump()
        pace = paces[name] = rehearse_base(
            model,
            recipe,
            image_size=params.data.image_size,
            augmentation=augmentation,
            precision=precision,
            findings=findings,
        )
        line, seconds = training_line(f"train_{name}", network["arch"], pace, recipe, learned, sizes["val"])
        counts = {"folds": folds or 1, "seeds": member.seeds}
        each = [f"{count} {what}" for what, count in counts.items() if count > 1]
        print(line + (f", each of {' x '.join(each)}" if each else ""))
        print(path_line(pace, params.train.batch_size))
        expected[f"train_{name}"] = models * member.seeds * seconds
        passes = member.seeds * params.stack.views
        features += pace.running * passes * (stacked + models * (sizes["val"] + sizes["test"]))
    recipe, arch, options = train_meta.options(params)
    line, seconds = f"train_meta: {arch}, no network to train", 0.0
    if arch != "convex":
        inputs = len(members) + len(params.tables)
        pace = rehearse_meta(create_meta(arch, inputs, findings, **options), recipe, models=inputs, findings=findings)
        line, seconds = training_line("train_meta", arch, pace, recipe, stacked, sizes["val"])
    seeds = params.meta.ensemble_seeds
    seconds *= seeds
    print(f"stack_features: {hours(features)}\n{line}" + (f", each of {seeds} seeds" if seeds > 1 else ""))
    expected |= {"stack_features": features, "train_meta": seconds}
    print(f"training: {hours(sum(expected.values()))} at most in one process; early stopping may end it sooner")
    if known:
        remember(expected)
    _advise(params, paces)


def _advise(params: SimpleNamespace, paces: dict[str, Pace]) -> None:
    """Prints what this machine would have set otherwise."""
    shared = params.train.model_dump(include={"batch_size", "accumulation_steps", "precision", "num_workers"})
    rows = rows_a_second(Path("data/packed/images.npy"))
    if rows is not None:
        print(f"disk: data/packed gives {rows:,.0f} images/s in random order to one thread")
    gpus = torch.cuda.device_count()
    found = advice(paces, **shared, launch=params.launch, gpus=gpus, rows_a_second=rows)
    print("settings: as they are" if not found else "on this machine better:\n  " + "\n  ".join(found))


if __name__ == "__main__":
    run("preflight", main, timed=False)
