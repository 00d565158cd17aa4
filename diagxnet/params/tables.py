"""Section `tables`: members that are tables of predictions, which others made."""

from typing import Annotated

from pydantic import Field

from diagxnet.params.name import Name

TablesParams = dict[Name, Annotated[str, Field(min_length=1)]]
"""File of each such member by its name."""
