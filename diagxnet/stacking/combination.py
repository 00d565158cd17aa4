"""What the ensemble is made of, and where it stands on val: put together once, for the terminal and config.json."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from diagxnet.data.findings import Findings
from diagxnet.data.prepared import Labels
from diagxnet.stacking.factor import ERRORS, Factor, fit_factor
from diagxnet.stacking.learners import MetaConvex, MetaLearner, apply_meta
from diagxnet.stacking.logistic import by_patient
from diagxnet.stacking.standing import Difference, stand
from diagxnet.stacking.weights import Core


@dataclass(frozen=True)
class Combination:
    """members: names. findings: along the findings axes. core: None where the network is all there is (`init: random`).
    factor: of the network's correction; None where there is no network, or nothing else. differences: see
    `stacking.standing`. left_out: the ensemble's logits of val [images, findings], with weights and factor that were
    fitted without the image's patient.
    """

    members: tuple[str, ...]
    findings: Findings
    core: Core | None
    factor: Factor | None
    differences: list[Difference]
    left_out: np.ndarray

    def content(self) -> dict[str, Any]:
        """`combination` of models/meta/config.json.

        {"core": null or {"weights": {member: {finding: w}}, "standardised", "strengths": {"for_all", "by_finding"},
                  "kept"}},
         "correction": null or {"factor", "gain", "error"}, of log loss in nats on val,
         "on_val": {"best_member" | "average": {"model", "auroc", "error", "behind"}}, ensemble minus model, macro}
        """
        core = correction = None
        if self.core is not None:
            weights = {
                name: dict(zip(self.findings.keys, map(float, own), strict=True))
                for name, own in zip(self.members, self.core.weights, strict=True)
            }
            strengths = dict(zip(("for_all", "by_finding"), self.core.strengths, strict=True))
            core = {"weights": weights, "standardised": self.core.standardised, "strengths": strengths}
            core["kept"] = self.core.kept
        if self.factor is not None:
            correction = {"factor": self.factor.value, "gain": self.factor.gain, "error": self.factor.error}
        on_val = {
            place: {"model": each.other, "auroc": each.auroc, "error": each.error, "behind": each.is_behind()}
            for place, each in zip(("best_member", "average"), self.differences, strict=False)
        }
        return {"core": core, "correction": correction, "on_val": on_val}

    def lines(self) -> list[str]:
        """What the terminal says of it."""
        lines = []
        if self.core is not None:
            scaled = "standardised logits" if self.core.standardised else "logits"
            kept = "the plain average, as patients left out bear out no other"
            if share := self.core.kept:
                kept = f"{share:.0%} of their distance from equal weights is kept, as patients left out bear it out"
            parts = [
                f"{name} {own.mean():.2f} ({own.min():.2f} to {own.max():.2f})"
                for name, own in zip(self.members, self.core.weights, strict=True)
            ]
            lines.append(f"weights of the members' {scaled}, mean and range over findings: {', '.join(parts)}; " + kept)
        if self.factor is not None:
            beyond = "more" if self.factor.value else "not more"
            gain = round(self.factor.gain, 1) + 0.0  # no -0.0
            lines.append(
                f"the network's correction enters with factor {self.factor.value:.1f}: on val's patients it saves "
                f"{gain} nats of log loss, {beyond} than {ERRORS:g} errors of {self.factor.error:.1f}"
            )
        for each in self.differences:
            if each.is_behind():
                name = "the plain average" if each.other == "average" else each.other
                lines.append(
                    f"the ensemble is behind {name} on val: macro AUROC {each.auroc:+.4f}, error {each.error:.4f} "
                    f"({self._advice()})"
                )
        return lines

    def _advice(self) -> str:
        """What to do about an ensemble that is behind."""
        if self.core is None:
            return "with meta.init: average it starts at the members' weighted mean"
        if self.factor is not None and self.factor.value:
            return "with meta.arch: convex it is the members' weighted mean alone"
        return "its weights want more images in stack and val, or fewer members"


def combine(
    model: nn.Module,
    core: Core | None,
    members: tuple[str, ...],
    findings: Findings,
    logits: np.ndarray,
    labels: Labels,
    patients: np.ndarray,
    lacking: np.ndarray | None = None,
) -> Combination:
    """Sets the factor of the correction of `model`, which is 1 so far, and measures the ensemble on val.

    core: None where `model` has none. logits: [images, members, findings], labels and patients [images]: of val, which
    are the last of the rows that `core` was fitted to. lacking: see `standing.stand`.
    """
    ensemble = apply_meta(model, torch.from_numpy(logits)).numpy().astype(np.float64)
    factor = None
    if core is not None:
        of_core = np.einsum("imf,mf->if", logits.astype(np.float64), core.slopes) + core.intercepts
        ensemble, correction = core.left_out[-len(logits) :], ensemble - of_core
        if not isinstance(model, MetaConvex):
            factor = fit_factor(of_core, correction, by_patient(labels.targets, labels.mask, patients))
            ensemble = ensemble + factor.left_out[:, None] * correction
            for part in model.modules():
                if isinstance(part, MetaLearner):
                    part.factor.fill_(factor.value)
    differences = stand(ensemble, logits, members, labels.targets, labels.mask, patients, lacking)
    return Combination(members, findings, core, factor, differences, ensemble)
