"""How the report, the model card and the pages beside them write names, figures and params."""

from collections.abc import Mapping, Sequence

from diagxnet.data.findings import FINDINGS, KEYS

NAMES = dict(zip(KEYS, FINDINGS, strict=True))
ON_VAL = (
    "Choose runs by the figures on val. They are somewhat too good, as each training kept the epoch of the least val "
    "loss; what else of the ensemble is fitted to val, weights and factor, leaves the image's patient out."
)
RESEARCH_ONLY = "For research only: not a medical device, not for decisions about patients."


def interval_text(metric: dict, name: str) -> str:
    """`0.857 (0.797 to 0.902)` of a mean ("macro", "chexpert5") of a metric in evaluation.json."""
    interval = metric["ci"][name]
    return f"{metric[name]:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})"


def difference_text(difference: dict) -> str:
    interval = difference["ci"]
    return f"{difference['difference']:+.3f} ({interval['lower']:+.3f} to {interval['upper']:+.3f})"


def counts_text(counts: dict[str, dict[str, int]]) -> str:
    """`Fracture (0 positive, 223 negative), ...` of counts by finding key."""
    return ", ".join(
        f"{NAMES[key]} ({own['positives']:,} positive, {own['negatives']:,} negative)" for key, own in counts.items()
    )


def not_learned_text(keys: Sequence[str]) -> str:
    """A sentence on the findings that were not learned, of which there is one at least."""
    names = ", ".join(NAMES[key] for key in keys)
    return f"Not learned, for no image of train has a known label: {names}. Predictions leave them empty."


def starred(evaluation: dict, key: str) -> str:
    return f"{NAMES[key]} *" if key in evaluation["few"] else NAMES[key]


def flat(params: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """{"meta.hidden_dim": "256", ...}: values as YAML prints them."""
    leaves = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            names = {None: "null", True: "true", False: "false"}
            leaves[f"{prefix}{key}"] = names[value] if value is None or isinstance(value, bool) else str(value)
    return leaves
