"""How commands of the library end: a user's mistake, and what the system refuses, are one line and status 1."""

import os
import sys
from collections.abc import Callable

from diagxnet.console.errors import InputError, printable


def run_command(name: str, work: Callable[[], int], *, advice: str = "") -> int:
    """The exit status of `work`, or 1 after a line `NAME: reason` for an InputError or OSError.

    advice: what stands behind what the system said. DIAGXNET_DEBUG=1 shows the traceback instead. A closed pipe and
    Ctrl-C are the command's own.
    """
    try:
        return work()
    except InputError as error:
        reason = str(error)
        if os.environ.get("DIAGXNET_DEBUG") == "1":
            raise
    except BrokenPipeError:
        raise
    except OSError as error:
        place = "" if error.filename is None else f"{printable(error.filename)}: "
        reason = f"{place}{error.strerror or error}{advice}"
        if os.environ.get("DIAGXNET_DEBUG") == "1":
            raise
    print(f"{name}: {reason}", file=sys.stderr)
    return 1
