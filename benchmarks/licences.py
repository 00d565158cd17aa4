"""The licences of all dependencies, from the metadata of what is installed:

python -m benchmarks.licences > docs/licences.md
"""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = ("requirements.txt", "requirements-dev.txt", "constraints.txt")
COPYLEFT = re.compile(r"GPL|General Public|MPL|Mozilla|EPL|CDDL", re.I)
LONGEST = 70

HEADER = """# Licences of the dependencies

Made by `python -m benchmarks.licences > docs/licences.md` of what the installed packages say. Versions are in
`constraints.txt`. On Linux, torch also installs NVIDIA's CUDA libraries, under NVIDIA's own licences, and Triton
(MIT). DiagXNet itself is under the MIT licence; none of these is part of it.

| licence | packages |
|---|---|
"""


def pins(name: str) -> dict[str, str]:
    """Version by package name of each line `NAME==VERSION` of a requirements file; ValueError for any other line."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if not line or line.startswith(("-c ", "-r ")):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z0-9,_-]+\])?==([^\s;*]+)(?:\s*;.*)?", line)
        if match is None:
            raise ValueError(f"{name}: {line}: pins no exact version")
        found[canonical(match[1])] = match[2]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    """What an installed package says: its licence expression, else a short text, else its classifiers; or "unknown"."""
    fields = metadata(name)
    if expression := fields.get("License-Expression"):
        return expression
    classifiers = [
        entry.rsplit(" :: ", 1)[-1]
        for entry in fields.get_all("Classifier", [])
        if entry.startswith("License ::") and not entry.endswith("OSI Approved")
    ]
    text = (fields.get("License") or "").strip()
    short = text if text and "\n" not in text and len(text) <= LONGEST else ""
    return short or " and ".join(classifiers) or "unknown"


def page() -> str:
    """docs/licences.md; PackageNotFoundError where a pinned package is not installed."""
    packages: dict[str, list[str]] = {}
    for name in sorted({name for file in FILES for name in pins(file)}):
        packages.setdefault(licence(name).replace("|", "/"), []).append(name)
    rows = [f"| {words} | {', '.join(names)} |" for words, names in sorted(packages.items(), key=_commonest)]
    copyleft = sorted(name for words, names in packages.items() if COPYLEFT.search(words) for name in names)
    note = f"Whoever passes on a changed copy of one of these must pass on its source, too: {', '.join(copyleft)}."
    return HEADER + "\n".join([*rows, "", note, ""])


def _commonest(row: tuple[str, list[str]]) -> tuple[int, str]:
    return -len(row[1]), row[0]


if __name__ == "__main__":
    try:
        print(page(), end="")
    except PackageNotFoundError as error:
        raise SystemExit(f"{error.name}: is not installed (pip install -r requirements-dev.txt)") from None
