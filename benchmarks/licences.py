"""The licences of all dependencies, from the metadata of what is installed:

python -m benchmarks.licences > docs/licences.md
"""

import re
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = ("requirements.txt", "requirements-dev.txt", "constraints.txt")
COPYLEFT = re.compile(r"GPL|General Public|MPL|Mozilla|EPL|CDDL", re.I)
LONGEST = 70

HEADER = """# Licences of the dependencies

Made from the metadata of the installed packages by `python -m benchmarks.licences > docs/licences.md`;
`tests/test_supply.py` checks that it is up to date. It lists what `requirements.txt` and `requirements-dev.txt` pin and
what these bring along (`constraints.txt`). On Linux, torch also installs NVIDIA's CUDA libraries, which are under
NVIDIA's own licences, and Triton (MIT). DiagXNet itself is under the MIT licence, and none of these is part of it: they
are installed beside it.
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
    direct = pins("requirements.txt")
    development = pins("requirements-dev.txt")
    rows = []
    for name in sorted({name for file in FILES for name in pins(file)}):
        role = "imported" if name in direct else "for tests" if name in development else "brought along"
        rows.append((name, version(name), licence(name).replace("|", "/"), role))
    copyleft = [f"{name} ({words})" for name, _, words, _ in rows if COPYLEFT.search(words)]
    table = [
        "| package | version | licence | why here |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    notes = [
        "",
        f"{len(rows)} packages. Whoever passes on a changed copy of one of these must pass on its source, too: "
        + (", ".join(copyleft) or "none")
        + ".",
    ]
    return "\n".join([HEADER, *table, *notes]) + "\n"


if __name__ == "__main__":
    try:
        print(page(), end="")
    except PackageNotFoundError as error:
        raise SystemExit(f"{error.name}: is not installed (pip install -r requirements-dev.txt)") from None
