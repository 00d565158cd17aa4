"""What is scored: the logits of every model for a split, with labels, patients and groups, by image or by study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_arrays, read_json
from diagxnet.data.findings import Findings
from diagxnet.data.members import CONFIG
from diagxnet.data.prepared import read_labels, read_manifest
from diagxnet.features.stacked import read_stacked, same_rows
from diagxnet.stacking.learners import apply_meta, load_meta
from diagxnet.statistics.groups import read_groups

COMBINED = ("average", "ensemble")
"""What is scored beside the members: their plain mean, and the meta-learner on top of them."""

LEFT_OUT = "ensemble_val.npz"
"""In the data folder, what `train_meta` writes: the ensemble's logits of val, each without its patient."""

AGE_BANDS = {"under_40": 40, "40_to_59": 60, "60_to_79": 80, "80_and_over": np.inf}
"""Name of each age band and the age in years, exclusive, at which it ends."""


@dataclass(frozen=True)
class Scored:
    """The units of a split (images or studies), ordered by first row.

    models: names along the models axis: the members, then COMBINED. logits: [models, units, findings] float64.
    targets: [units, findings] bool, False where unknown. mask: [units, findings] bool, True where known. patients:
    [units] object, patient of each unit. groups: attribute (sex, age, view, further columns) to the group of each
    unit, [units] object. names: [units] object, path of the image or name of the study. findings: along the findings
    axes. lacks: by model the keys of the findings that it says nothing of (see `features.stacked`).
    """

    models: tuple[str, ...]
    logits: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    patients: np.ndarray
    groups: dict[str, np.ndarray]
    names: np.ndarray
    findings: Findings
    lacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the findings."""
        return self.findings.keys

    @property
    def members(self) -> tuple[str, ...]:
        """The base models."""
        return self.models[: -len(COMBINED)]

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Known positives and known negatives, each [findings] int."""
        return (self.targets & self.mask).sum(axis=0), (~self.targets & self.mask).sum(axis=0)

    def scorable(self) -> np.ndarray:
        """[findings] bool, True where both classes are known."""
        positives, negatives = self.counts()
        return (positives > 0) & (negatives > 0)

    def rarer_patients(self) -> np.ndarray:
        """[findings] int: the patients with a known positive unit, or those with a negative one, whichever are fewer.

        A finding's figures are as sure as a sample of so many (see `intervals`)."""
        known = (self.mask & self.targets, self.mask & ~self.targets)
        codes = np.unique(self.patients, return_inverse=True)[1]
        counts = [[len(np.unique(codes[own[:, f]])) for f in range(own.shape[1])] for own in known]
        return np.min(counts, axis=0)

    def enough(self, min_positives: int) -> np.ndarray:
        """[findings] bool, True where at least `min_positives` positives and as many negatives are known, and either of
        two patients or more: of a single one nobody can say how sure a figure is."""
        return (np.minimum(*self.counts()) >= min_positives) & (self.rarer_patients() >= 2)

    def headline(self, min_positives: int) -> tuple[str, ...]:
        """Keys of the findings that means and verdicts are over: those with `enough`; where there is none, those with
        two patients of either class; where there is none of these, too, all with both classes."""
        chosen = next(filter(np.any, (self.enough(min_positives), self.enough(1))), self.scorable())
        return tuple(self.keys[f] for f in np.flatnonzero(chosen))

    def known(self, finding: int) -> np.ndarray:
        """Rows of the units whose label of `finding` (a column) is known."""
        return np.flatnonzero(self.mask[:, finding])

    def subset(self, chosen: np.ndarray) -> "Scored":
        """The units that `chosen` picks: [units] bool, or the numbers of the units."""
        return replace(
            self,
            logits=self.logits[:, chosen],
            targets=self.targets[chosen],
            mask=self.mask[chosen],
            patients=self.patients[chosen],
            groups={name: values[chosen] for name, values in self.groups.items()},
            names=self.names[chosen],
        )

    def of(self, model: str) -> "Scored":
        """The same, in which no label is known of a finding that `model` says nothing of."""
        lacking = self.lacks.get(model, ())
        known = np.array([key not in lacking for key in self.keys])
        return replace(self, mask=self.mask & known, targets=self.targets & known) if lacking else self

    def only(self, models: Sequence[str]) -> "Scored":
        """The same units, scored by some of the models."""
        return replace(self, models=tuple(models), logits=self.logits[[self.models.index(name) for name in models]])


def read_scored(
    data: Path,
    models: Path,
    split: str,
    unit: str,
    *,
    left_out: bool = False,
    columns: Mapping[str, str | list[float]] | None = None,
) -> Scored:
    """Reads `split` (val or test) from data/prepared and data/stacked and runs the meta-learner of models/meta on it.

    unit: `image`, or `study`: the mean of the logits of its views. left_out: of val, the ensemble's logits are those of
    LEFT_OUT, from fits without the image's patient. columns: further ones that make groups of test (see `read_groups`).
    Raises InputError where the files do not fit.
    """
    stacked = read_stacked(data / "stacked", split)
    rows, base = stacked.rows, stacked.logits
    labels = read_labels(data / "prepared", split)
    same_rows(rows, labels.rows, split)
    manifest = read_manifest(data / "prepared").set_index("row").loc[rows]
    if left_out:
        stored = read_arrays(data / LEFT_OUT)
        same_rows(stored["rows"], labels.rows, split)
        ensemble = stored["logits"]
    else:
        ensemble = apply_meta(load_meta(models / "meta"), torch.from_numpy(base)).numpy()
    findings = Findings(tuple(read_json(models / "meta" / CONFIG)["findings"]))
    further = read_groups(data / "prepared", rows, columns or {})
    given = labels.targets, labels.mask
    scored = assemble(manifest, stacked.members, findings, base, ensemble, *given, unit, further)
    return replace(scored, lacks=stacked.lacks(scored.keys))


def assemble(
    rows: pd.DataFrame,
    members: Sequence[str],
    findings: Findings,
    base: np.ndarray,
    ensemble: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray,
    unit: str,
    further: Mapping[str, np.ndarray] | None = None,
) -> Scored:
    """What was scored, from its parts in one order.

    rows: [images] with columns path, patient, study, view, projection, sex, age. base: [images, members, findings]
    logits. ensemble: [images, findings] logits. targets, mask: [images, findings]. unit: see `read_scored`. further:
    groups beside those of sex, age and view, by attribute [images] object.
    """
    logits = np.concatenate([base, base.mean(axis=1, keepdims=True), ensemble[:, None]], axis=1)
    scored = Scored(
        (*members, *COMBINED),
        np.ascontiguousarray(logits.transpose(1, 0, 2), dtype=np.float64),
        (targets > 0) & mask,
        mask,
        rows["patient"].to_numpy(object),
        {"sex": rows["sex"].to_numpy(object), "age": _age_bands(rows["age"]), "view": _views(rows)}
        | dict(further or {}),
        rows["path"].to_numpy(object),
        findings,
    )
    if not scored.logits.shape[2] == scored.mask.shape[1] == len(findings):
        sizes = f"{scored.logits.shape[2]} findings are scored, {scored.mask.shape[1]} labelled"
        raise InputError(f"{sizes}, and the models know {', '.join(findings.names)} (train anew: dvc repro)")
    return scored if unit == "image" else by_study(scored, rows["study"].to_numpy(object))


def by_study(scored: Scored, studies: np.ndarray) -> Scored:
    """One unit a study: the mean of its images' logits; positive where any image is.

    Irvin et al. 2019 score studies as well, by the largest probability among the views.

    studies: [units] object, study of each image (no two patients share one). A study is known where any of its images
    is. Its group is `mixed` where its images' groups differ, but for sex and age, which are the first image's.
    """
    codes = pd.factorize(studies)[0]  # numbered by first image
    firsts = np.unique(codes, return_index=True)[1]
    sizes = np.bincount(codes)
    logits = np.zeros((len(scored.logits), len(sizes), scored.logits.shape[2]))
    for model, values in enumerate(scored.logits):
        np.add.at(logits[model], codes, values)
    targets, mask = (np.zeros((len(sizes), scored.mask.shape[1]), bool) for _ in range(2))
    np.logical_or.at(targets, codes, scored.targets & scored.mask)
    np.logical_or.at(mask, codes, scored.mask)
    groups = {name: values[firsts] for name, values in scored.groups.items()}
    for name in groups.keys() - {"sex", "age"}:
        mixed = pd.Series(scored.groups[name]).groupby(codes).nunique().to_numpy() > 1
        groups[name] = np.where(mixed, "mixed", groups[name]).astype(object)
    owners = scored.patients[firsts]
    logits /= sizes[:, None]
    return Scored(scored.models, logits, targets, mask, owners, groups, studies[firsts], scored.findings, scored.lacks)


def _age_bands(ages: pd.Series) -> np.ndarray:
    years = ages.to_numpy(float)
    bands = np.array(list(AGE_BANDS), object)[
        np.searchsorted(list(AGE_BANDS.values()), years, side="right").clip(max=3)
    ]
    return np.where(np.isnan(years), "unknown", bands).astype(object)


def _views(manifest: pd.DataFrame) -> np.ndarray:
    """lateral, frontal_ap, frontal_pa, or frontal where the projection is unknown."""
    view = manifest["view"].to_numpy(object)
    projection = manifest["projection"].str.lower().to_numpy(object)
    named = (view == "frontal") & (projection != "")
    return np.where(named, view + "_" + projection, view).astype(object)
