"""How a test set is scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scoring:
    """unit: what is scored, `image`, or `study`: the mean of the logits of its views. bootstrap: resamples of patients
    for each 95% interval. min_positives: so many known positives and negatives a finding must have on val to be given a
    slope, in a subgroup to be scored, and on test to be in means and verdicts (see `Scored.enough`). seed: of the
    resamples. prevalence: by key of a finding, the share of positives for which precision and npv are wanted, too.
    subgroups: by further column of the table, `categories`, or the bounds between bins (see `groups`)."""

    unit: str
    bootstrap: int
    min_positives: int
    seed: int
    prevalence: Mapping[str, float] = field(default_factory=dict)
    subgroups: Mapping[str, str | list[float]] = field(default_factory=dict)
