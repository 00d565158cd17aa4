"""One progress bar a stage, with rate and time left; plain lines where nobody watches a terminal."""

import os
import sys
import time
from typing import ClassVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 20


class Progress:
    """Counts `total` items. On a terminal a tqdm bar; elsewhere (a log, CI, a terminal without width) a line every
    twenty seconds and at the end.

    Use as a context manager; `update(n)` counts items, `note(text)` sets what stands behind the bar. With
    `shown=False` (processes other than the first of several) it prints nothing.
    """

    behind: ClassVar[float] = 0.0
    """Seconds of the stages behind the one that this process is, as far as they are known."""

    def __init__(self, total: int, title: str, unit: str = "img", shown: bool = True) -> None:
        self.total, self.title, self.unit, self.shown = total, title, unit, shown
        self.done, self.text = 0, ""
        self.started = self.printed = time.monotonic()
        self.bar = None
        if shown and sys.stderr.isatty() and _columns() > 0:
            self.bar = tqdm(total=total, desc=title, unit=unit, dynamic_ncols=True, smoothing=0.05)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif self.shown and kind is None:
            self._line()

    def update(self, items: int = 1) -> None:
        self.done += items
        if self.bar is not None:
            self.bar.update(items)
        elif self.shown and self.done < self.total and time.monotonic() - self.printed > SECONDS_BETWEEN_LINES:
            self._line()

    def skip(self, items: int) -> None:
        """Takes off items that need not be done, as an earlier run did them or training stopped early."""
        self.total -= items
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.refresh()

    def note(self, text: str) -> None:
        self.text = text
        if self.bar is not None:
            rate = self.bar.format_dict["rate"]
            whole = hours((self.total - self.done) / rate + self.behind) if self.behind and rate else ""
            self.bar.set_postfix_str(f"{text}, whole run {whole} left" if whole else text)

    def write(self, line: str) -> None:
        """Prints a line that stays, above the bar."""
        if self.shown:
            tqdm.write(line, file=sys.stderr)

    def _left(self, seconds: float) -> str:
        whole = f" (of the whole run {hours(seconds + self.behind)})" if self.behind else ""
        return f"{hours(seconds)} left{whole}"

    def _line(self) -> None:
        self.printed = time.monotonic()
        seconds = max(self.printed - self.started, 1e-9)
        rate = self.done / seconds
        left = f", {self._left((self.total - self.done) / rate)}" if 0 < self.done < self.total else ""
        text = f", {self.text}" if self.text else ""
        print(
            f"{self.title}: {self.done:,}/{self.total:,} {self.unit} in {seconds:,.0f} s, "
            f"{rate:,.1f} {self.unit}/s{left}{text}",
            file=sys.stderr,
            flush=True,
        )


def _columns() -> int:
    """Width of the terminal behind stderr; 0 where it has none, or is a device that only looks like one."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


def hours(seconds: float) -> str:
    """A length of time in the unit that a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
