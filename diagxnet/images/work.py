"""The work folder of a pack, where an interrupted one is kept."""

import os
import shutil
from pathlib import Path


def release(work: str | Path) -> None:
    """Removes what `pack` keeps in its work folder; called once the packed folder is on record."""
    work = Path(work)
    if work.exists():
        remove(work / "images.npy")
        shutil.rmtree(work)


def remove(path: Path) -> None:
    if os.name == "nt" and path.exists():
        path.chmod(0o666)  # DVC protects what it links, and Windows removes no read-only file
    path.unlink(missing_ok=True)
