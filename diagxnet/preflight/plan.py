"""What an overnight run will meet, told within a minute: rows, splits, disk, memory, hours, and every error to come."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.cores import cores
from diagxnet.console.errors import InputError
from diagxnet.console.progress import hours
from diagxnet.data.findings import Findings
from diagxnet.data.hierarchy import FLAT, Hierarchy
from diagxnet.data.packed import titled
from diagxnet.data.prepared import Labels
from diagxnet.data.splits import LEARNED, SPLITS
from diagxnet.images.decode import ImageError, decode
from diagxnet.images.npy import packed_bytes
from diagxnet.labels.prepare import assign_rows, check_parents, check_splits, grouping, one_class_warnings
from diagxnet.labels.rules import apply_rules, looked_for, rules_of
from diagxnet.preflight.rehearsal import Pace
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns
from diagxnet.reading.tables import Table, group_column, read_tables
from diagxnet.statistics.groups import grouped
from diagxnet.tables.given import take_table
from diagxnet.training.recipe import Recipe

SAMPLED = 64
"""Images that are decoded, spread evenly over the tables."""


@dataclass
class Notices:
    """What a preflight has to say: lines for the terminal, and problems that would stop the run."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """How many images the run packs, and how many it uses in each split."""

    packed: int
    splits: dict[str, int]


def look_at_data(
    root: str | Path,
    *,
    image_size: int,
    views: str,
    uncertain: Mapping[str, str],
    blank: str,
    split_seed: int,
    max_patients: int | None,
    shares: Mapping[str, float],
    bad_images: str,
    disk: str | Path,
    linked: str | None = None,
    columns: Columns = CHEXPERT_COLUMNS,
    crop: str = "guide",
    test: str | None = None,
    hierarchy: Hierarchy = FLAT,
    subgroups: Mapping[str, str | list[float]] | None = None,
    given: Mapping[str, str] | None = None,
) -> tuple[Plan, Notices]:
    """Reads the tables, looks for every file, decodes a sample, splits the patients; `disk`: where data/ will be.

    The keywords are those of `pack` and `prepare`; subgroups: `evaluate.subgroups`; given: the members that are tables
    of predictions, by name. Raises InputError with every problem of the tables where they cannot be used; all other
    problems are in the notices.
    """
    tables = read_tables(root, columns, test)
    found = Notices()
    found.lines.append("rows: " + ", ".join(f"{titled(table.name)} {len(table.frame):,}" for table in tables))
    rows, labels, used = assign_rows(
        tables, views=views, split_seed=split_seed, max_patients=max_patients, shares=shares
    )
    used &= _look_for_files(Path(root), tables, bad_images, found)
    near = None if test is None else (Path(root) / test).parent
    _sample(Path(root), linked, near, tables, (image_size, crop), bad_images, found)
    chosen = rows[used]
    try:
        check_splits(chosen, views, max_patients)
    except InputError as error:
        found.problems.append(str(error))
    sizes = {split: int((chosen["split"] == split).sum()) for split in SPLITS}
    patients = chosen.groupby("split")["patient"].nunique()
    found.lines.append(
        f"in use (data.views: {views}): "
        + ", ".join(f"{split} {sizes[split]:,} images of {patients.get(split, 0):,} patients" for split in SPLITS)
    )
    if len(chosen):
        found.lines.append(grouping(chosen, columns.patient))
    uncertain = rules_of(columns.findings, uncertain)
    sought = np.zeros_like(labels, bool)
    sought[used] = looked_for(labels[used], chosen["table"].to_numpy(object))
    for split in LEARNED:
        own = used & (rows["split"] == split).to_numpy()
        targets, mask = apply_rules(
            labels[own], rows["path"][own].tolist(), columns.findings, uncertain=uncertain, blank=blank, seed=split_seed
        )
        mask &= sought[own]
        try:
            if split == "train":
                check_parents(hierarchy, mask, columns.findings)
        except InputError as error:
            found.problems.append(str(error))
        targets, mask = hierarchy.complete(targets, mask, columns.findings.keys)
        prepared = Labels(np.arange(int(own.sum())), targets, mask)
        warnings = one_class_warnings(split, prepared, labels[own], columns.findings, uncertain, blank)
        found.lines += [f"warning: {line}" for line in warnings]
    _group(chosen[chosen["split"] == "test"], subgroups or {}, found)
    _take(chosen.assign(row=np.arange(len(chosen))), given or {}, columns.findings, found)
    _weigh(len(rows), image_size, Path(disk), found)
    return Plan(len(rows), sizes), found


def _look_for_files(root: Path, tables: list[Table], bad_images: str, found: Notices) -> np.ndarray:
    """[rows] bool, whether there is a file with something in it; the others are problems, or will be dropped."""
    there, missing = [], []
    for table in tables:
        for path, file, line in zip(table.frame["path"], table.files, table.lines, strict=True):
            try:
                size = os.stat(root / file).st_size
            except OSError:
                size = -1
            there.append(size > 0)
            if size <= 0:
                missing.append(
                    f"{titled(table.name)}, line {line}: {path}: {'is empty' if size == 0 else 'is missing'}"
                )
    if missing and bad_images == "drop":
        found.lines.append(f"data.bad_images: drop leaves out {len(missing):,} images that are missing or empty")
    elif missing:
        found.problems += missing
    return np.array(there, bool)


def _sample(
    root: Path,
    linked: str | None,
    near: Path | None,
    tables: list[Table],
    seen: tuple[int, str],
    bad_images: str,
    found: Notices,
) -> None:
    """Decodes up to `SAMPLED` of the images, for the rate and for what is wrong with them."""
    paths = [
        (table.name, line, path, file)
        for table in tables
        for path, file, line in zip(table.frame["path"], table.files, table.lines, strict=True)
    ]
    chosen = np.unique(np.linspace(0, len(paths) - 1, SAMPLED).astype(int))
    started, good = time.perf_counter(), 0
    for name, line, path, file in (paths[index] for index in chosen):
        try:
            decode(root / file, seen[0], near if os.path.isabs(file) else root, linked, crop=seen[1])
            good += 1
        except ImageError as error:
            if str(error) in ("is empty", "is missing"):
                continue  # told by _look_for_files
            where = f"{titled(name)}, line {line}: {path}: {error}"
            (found.lines if bad_images == "drop" else found.problems).append(where)
    if good:
        rate = good / (time.perf_counter() - started)
        found.lines.append(
            f"pack: {rate:,.0f} images/s on one core, so {hours(len(paths) / rate / cores())} on {cores()}"
            f" (from {good} sampled images)"
        )


def _group(test: pd.DataFrame, rules: Mapping[str, str | list[float]], found: Notices) -> None:
    """Groups the images of `test` as `evaluate` will, after all training."""
    for name, rule in rules.items():
        try:
            groups = grouped(test[group_column(name)].to_numpy(object), rule, name)
        except InputError as error:
            found.problems.append(str(error))
        else:
            sizes = pd.Series(groups, dtype=object).value_counts().sort_index()
            found.lines.append(f"{name}: " + ", ".join(f"{group} {size:,}" for group, size in sizes.items()))


def _take(manifest: pd.DataFrame, given: Mapping[str, str], findings: Findings, found: Notices) -> None:
    """Reads the members that are tables as their stage will, and keeps nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, file in given.items():
            try:
                found.lines += take_table(name, Path(file), manifest, findings, Path(folder) / name)
            except InputError as error:
                found.problems.append(str(error))


def _weigh(images: int, image_size: int, disk: Path, found: Notices) -> None:
    disk = next(folder for folder in (disk, *disk.resolve().parents) if folder.exists())
    needed, free = packed_bytes(images, image_size), shutil.disk_usage(disk).free
    memory = machine_memory()
    if memory:
        fits = "fits" if needed < memory else "does not fit (a fast local disk then, as rows are taken in any order)"
        found.lines.append(
            f"memory: of {memory / 1e9:,.0f} GB on this machine; data/packed, which a training reads whole before it "
            f"begins, {fits}"
        )
    text = (
        f"disk: data/packed takes {needed / 1e9:,.2f} GB at {image_size} px (once more in DVC's cache where the file "
        f"system has neither reflinks nor hard links), {free / 1e9:,.1f} GB are free"
    )
    found.lines.append(text)
    if needed > free:
        found.problems.append(f"{text} (make room, or choose a smaller data.image_size or data.max_patients)")


def machine_memory() -> int:
    """Bytes of this machine's memory; 0 where the system does not say (Windows)."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def training_line(name: str, arch: str, pace: Pace, recipe: Recipe, images: int, val_images: int) -> tuple[str, float]:
    """A line on one training of so many images, with its hours at most; and those as seconds."""
    validations = recipe.schedule.validations(-(-images // recipe.batches.effective(1)))
    seconds = recipe.schedule.epochs * (images * pace.learning + validations * val_images * pace.running)
    return (
        f"{name}: {arch}, {pace.parameters:,} parameters, on {pace.device}; {1 / pace.learning:,.1f} images/s "
        f"learning, {1 / pace.running:,.1f} images/s running; {recipe.schedule.epochs} epochs of {images:,} images: "
        f"{hours(seconds)}",
        seconds,
    )


def path_line(pace: Pace, batch_size: int) -> str:
    """A line on the images that reach a base model: how fast, what share of its device computes, what that holds."""
    fed = min(1.0, pace.pure / pace.learning)
    line = f"  gathered and augmented at {1 / pace.path:,.0f} images/s: {fed:.0%} of its time the {pace.kind} learns"
    if pace.memory is None:
        return line
    if pace.memory > 1:
        return f"{line}; its memory does not hold {batch_size} images a step"
    return f"{line}; {pace.memory:.0%} of its memory in use with {batch_size} images a step"
