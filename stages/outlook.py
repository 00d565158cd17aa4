"""How far a whole run is: which stage of how many, and how long those behind it took last time.

`.resume/seconds.json`, no output of any stage, holds seconds by stage: what each took when it last ended, or what
`stages.preflight` expects of it, whichever is newer. DVC runs stages in the order of dvc.yaml, and skips those that
nothing changed for: what is left is so much at most.
"""

from pathlib import Path

import yaml

from diagxnet.console.progress import hours
from diagxnet.data.files import read_json, write_json

SECONDS = Path(".resume/seconds.json")


def stages() -> list[str]:
    """All stages of the dvc.yaml here, in its order, as they call themselves: `train_NAME` for each further member.

    [] where there is none that can be read, as for a stage that is run by hand elsewhere.
    """
    found: list[str] = []
    try:
        pipeline, params = (yaml.safe_load(Path(n).read_text(encoding="utf-8")) for n in ("dvc.yaml", "params.yaml"))
        for name, stage in pipeline["stages"].items():
            found += [f"train_{key}" for key in params[stage["foreach"][2:-1]]] if "foreach" in stage else [name]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return []
    return found


def outlook(name: str) -> tuple[str, float]:
    """A line on the place of the stage `name` in the whole run, and the seconds of the stages behind it that are known.

    ("", 0.0) for a command that is no stage.
    """
    every, known = stages(), _known()
    if name not in every:
        return "", 0.0
    place = every.index(name)
    left = sum(known.get(each, 0.0) for each in every[place + 1 :])
    parts = [f"this one {hours(known[name])}"] if name in known else []
    parts += [f"those behind it {hours(left)}, at most"] if left else []
    told = f"; by the last run or preflight {', '.join(parts)}" if parts else ""
    return f"{name}: stage {place + 1} of {len(every)}{told}", left


def remember(seconds: dict[str, float]) -> None:
    """Keeps the seconds of some stages beside those of the others."""
    write_json(SECONDS, _known() | {name: round(value, 2) for name, value in seconds.items()})


def _known() -> dict[str, float]:
    try:
        return {name: float(value) for name, value in read_json(SECONDS).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # a damaged file is as none: nothing that is kept rests on it
