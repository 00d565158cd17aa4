"""What every stage does around its work: errors as one line, time and memory on record."""

import errno
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.data.files import write_json
from stages.outlook import outlook, remember

INTERRUPTED, TERMINATED = 130, 143

NOT_WRITABLE = {errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
NOT_WRITABLE |= {getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What the system says of a full disk, a file too large for it, a read-only file system, missing rights and a spent
quota."""


KEPT = "Stages that ended are kept, and of a training all up to its last validation"


class Terminated(BaseException):
    """SIGTERM came, as a scheduler or `kill` sends it: raised like KeyboardInterrupt, so that work ends in order."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def run(name: str, main: Callable[[], dict[str, float] | None], *, timed: bool = True) -> None:
    """Runs a stage's `main` and, where `timed`, writes `metrics/timing/NAME.json`: seconds, peak memory, `main`'s own.

    A stage of dvc.yaml first says where in the whole run it is. Bad input ends in its message alone, and so does a full
    disk, with status 1; DIAGXNET_DEBUG=1 adds the traceback. A defect of ours keeps it, with a line on what to do.
    """
    started = time.perf_counter()
    signal.signal(signal.SIGTERM, _terminate)
    line, Progress.behind = outlook(name) if is_first() else ("", 0.0)
    if line:
        print(line, flush=True)
    try:
        extra = main() or {}
    except InputError as error:
        if os.environ.get("DIAGXNET_DEBUG") == "1":
            raise
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in NOT_WRITABLE or os.environ.get("DIAGXNET_DEBUG") == "1":
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {where}{error.strerror} (mend that, then run the same command again to go on)", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Terminated:
        print(f"{name}: ended by SIGTERM; run the same command again to go on", file=sys.stderr)
        sys.exit(TERMINATED)
    except Exception as error:
        error.add_note(f"{name}: a defect. {KEPT}; the same command again goes on (report the lines above)")
        raise
    if not is_first():
        return
    record = {"seconds": round(time.perf_counter() - started, 2), **peak_memory(), **extra}
    if line:
        remember({name: record["seconds"]})
    if timed:
        write_json(Path("metrics/timing") / f"{name}.json", record)


def is_first() -> bool:
    """Whether this process is the first of those that train together, or alone."""
    return os.environ.get("RANK", "0") == "0"


def peak_memory() -> dict[str, float]:
    """Peak resident memory of this process in MiB, where the platform tells (not on Windows)."""
    if platform.system() == "Windows":
        return {}
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kibibytes = peak / 1024 if platform.system() == "Darwin" else peak
    return {"peak_memory_mib": round(kibibytes / 1024, 1)}
