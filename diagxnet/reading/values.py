"""What a cell of a table means, value by value; a problem for each that means nothing."""

import re
from collections.abc import Sequence

import numpy as np

BLANK = {"", "nan", "na", "n/a", "<na>", "null"}
"""Nothing is there, as people and programs write it."""

LABELS = {"1.0": 1.0, "0.0": 0.0, "-1.0": -1.0, "": np.nan, "1": 1.0, "0": 0.0, "-1": -1.0}
"""As CheXpert, pandas and people mostly write them; `careful_labels` reads the rest."""

WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
VIEWS = {"frontal": ("frontal", ""), "lateral": ("lateral", "")}
VIEWS |= {"ap": ("frontal", "AP"), "pa": ("frontal", "PA"), "ll": ("lateral", "LL"), "rl": ("lateral", "RL")}
"""View and projection."""

SEXES = {"female": "female", "male": "male", "f": "female", "m": "male", "unknown": "unknown", "": "unknown"}
PROJECTIONS = {"ap": "AP", "pa": "PA", "ll": "LL", "rl": "RL", "": ""}
NOBODY = {*BLANK, "none", "unknown"}
OLDEST = 120


def folded(value: str) -> str:
    """`value` without spaces around it and in small letters; nothing where it says that nothing is there."""
    value = value.strip().lower()
    return "" if value in BLANK else value


def careful_labels(findings: Sequence[str], values: tuple[str, ...], problems: list[str]) -> list[float]:
    """Labels written in another way (`-1.00`, ` 1`, `True`, `no`, `NA`), and a problem for each that is none."""
    labels = []
    for finding, value in zip(findings, values, strict=True):
        text = folded(value)
        try:
            label = WORDS[text] if text in WORDS else float(text) if text else np.nan
        except ValueError:
            label = None
        if label is None or (text and label not in (1, 0, -1)):
            problems.append(f"{finding} is {value!r}: must be 1, 0, -1 or blank")
            label = np.nan
        labels.append(label)
    return labels


def view_of(column: str, value: str, problems: list[str]) -> tuple[str, str]:
    """View and projection of a cell."""
    found = VIEWS.get(folded(value))
    if found is None:
        problems.append(f"{column} is {value!r}: must be Frontal or Lateral, or AP, PA, LL, RL")
    return found or ("", "")


def view_of_file(path: str) -> str:
    """What the name of a file says of the view; blank where it says nothing, or both."""
    words = set(re.split("[^a-z]+", path.rpartition("/")[2].lower())) & {"frontal", "lateral"}
    return words.pop() if len(words) == 1 else ""


def choose(column: str, value: str, choices: dict[str, str], problems: list[str]) -> str:
    """What `choices` have for a cell."""
    chosen = choices.get(folded(value))
    if chosen is None:
        wanted = ", ".join(key for key in dict.fromkeys(choices.values()) if key)
        problems.append(f"{column} is {value!r}: must be {wanted} or blank")
    return chosen or ""


def age_of(column: str, value: str, problems: list[str]) -> float:
    """Years, NaN where they are not known; `058Y` as DICOM writes it."""
    text = folded(value)
    if text in ("", "unknown"):
        return np.nan
    try:
        age = float(re.sub("^([0-9]{1,3})y$", r"\1", text))
    except ValueError:
        age = np.nan
    if not (0 <= age <= OLDEST and age == int(age)):
        problems.append(f"{column} is {value!r}: must be whole years from 0 to {OLDEST}, Unknown or blank")
        return np.nan
    return age


def identifier(value: str, column: str, problems: list[str]) -> str:
    """The name in a cell; a problem where it is none."""
    name = value.strip()
    if name.casefold() in NOBODY:
        problems.append(f"{column} is {value!r}: each row must name its own")
    elif not name.isprintable():
        problems.append(f"{column} is {value!r}: holds characters that cannot be printed")
    elif re.fullmatch(r"[0-9][.,][0-9]+E\+[0-9]+", name, re.IGNORECASE):
        problems.append(f"{column} is {value!r}: a number that a spreadsheet has rounded; take the original table")
    return whole(name)


def whole(name: str) -> str:
    """`name` without the fraction of a whole number: pandas writes 123 as 123.0 where a cell of its column is empty."""
    number = re.fullmatch(r"([0-9]+)\.0+", name)
    return number[1] if number else name
