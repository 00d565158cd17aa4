"""With which params it was made."""

from collections.abc import Mapping

from diagxnet.reporting.page import Html, table
from diagxnet.reporting.section import Material, Section
from diagxnet.reporting.wording import flat


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    """params.yaml, a line each leaf."""
    return [table(("Key", "Value"), flat(material.params).items(), text=[0, 1])]


SECTION = Section("Params", content)
