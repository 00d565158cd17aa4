"""Errors that a person can act on."""

SHOWN = 20


class InputError(Exception):
    """Bad input: its message is for the person who must act, and says what, where and what to do now.

    A stage prints the message alone and exits with status 1; any other exception is a defect of ours and keeps its
    traceback.
    """


def one_line(error: Exception, limit: int | None = None) -> str:
    """What `error` says, on one line of at most `limit` characters; the name of its type where it says nothing."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def printable(text: object) -> str:
    """`text` on one line, whatever characters are in it: what cannot be printed becomes an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


def problems_error(summary: str, problems: list[str], mend: str) -> InputError:
    """One error for all `problems` of a pass: the `summary`, the first twenty, the count of the rest, the `mend`."""
    if len(problems) == 1:
        return InputError(f"{problems[0]} ({mend})")
    lines = [f"{summary}: {len(problems):,} problems ({mend})", *(f"  {problem}" for problem in problems[:SHOWN])]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN:,} more")
    return InputError("\n".join(lines))
