"""What a further member may be called."""

from typing import Annotated

from pydantic import AfterValidator

from diagxnet.data.members import name_problem


def _named(name: str) -> str:
    if problem := name_problem(name):
        raise ValueError(problem)
    return name


Name = Annotated[str, AfterValidator(_named)]
"""Of a member beside the first two."""
