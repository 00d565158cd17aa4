"""Files that a command line names: NAME=FILE."""

from collections.abc import Collection, Sequence
from pathlib import Path

from diagxnet.console.errors import InputError

LONGEST = 60


def named(flag: str, given: Sequence[str], taken: Collection[str] = ()) -> dict[str, Path]:
    """Files by name, of arguments NAME=FILE; InputError for one that is not of that form, or a name that is `taken`."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, file = (part.strip() for part in text.partition("="))
        if not (name and equals and file):
            raise InputError(f"{flag} {text}: must be NAME=FILE")
        if not name.isprintable() or len(name) > LONGEST:
            raise InputError(f"{flag} {name!r}: a name has at most {LONGEST} letters, all printable")
        if name in taken or name in found:
            why = "is there twice" if name in found else "is a key of metrics.json"
            raise InputError(f"{flag} {name}: {why} (give another name)")
        found[name] = Path(file)
    return found
