"""How many processor cores there are to work with."""

import os


def cores() -> int:
    """Cores that this process may use (a container or a scheduler may grant fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
