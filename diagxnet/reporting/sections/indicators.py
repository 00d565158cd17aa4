"""The guide's indicators of a successful training."""

from collections.abc import Mapping

from diagxnet.reporting.page import Html, table
from diagxnet.reporting.section import Material, Section


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    rows = material.results.indicators
    cells = [(row["indicator"], row["target"], row["found"], "yes" if row["met"] else "no") for row in rows]
    caption = f"{sum(row['met'] for row in rows)} of {len(rows)} of the optimization guide's indicators are met."
    return [table(("Indicator", "Target", "Found", "Met"), cells, caption=caption, text=[0, 1, 2, 3])]


SECTION = Section("Success indicators", content)
