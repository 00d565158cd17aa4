"""Splits patients, turns labels into targets and masks, and prints the audit table."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from diagxnet.data.hierarchy import Hierarchy
from diagxnet.data.prepared import read_manifest
from diagxnet.images.work import release
from diagxnet.labels.prepare import audit_table, grouping, prepare
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.reading.columns import columns_of
from stages.running import run


def options(data: DataParams, subgroups: Collection[str]) -> dict[str, Any]:
    """How params.yaml has the rows of `data.root` split and labelled; subgroups: of its section `evaluate`."""
    columns = columns_of(data.columns.model_dump(), data.findings, subgroups)
    return {
        "views": data.views,
        "uncertain": data.uncertain,
        "blank": data.blank,
        "split_seed": data.split_seed,
        "max_patients": data.max_patients,
        "shares": data.shares.model_dump(),
        "columns": columns,
        "test": data.test,
        "hierarchy": Hierarchy.of(data.hierarchy, columns.findings.keys, data.parents),
    }


def main() -> None:
    params = read_params(data=DataParams, evaluate=EvaluateParams)
    data = params.data
    release(Path(".resume/pack"))  # data/packed is on DVC's record now
    own = options(data, params.evaluate.subgroups)
    summary = prepare(Path(data.root), Path("data/packed"), Path("data/prepared"), **own)
    print(audit_table(summary, own["columns"].findings))
    print(grouping(read_manifest("data/prepared"), data.columns.patient))


if __name__ == "__main__":
    run("prepare", main)
