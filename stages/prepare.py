"""Splits patients, turns labels into targets and masks, and prints the audit table."""

from pathlib import Path

from diagxnet.data.hierarchy import Hierarchy
from diagxnet.data.prepared import read_manifest
from diagxnet.images.work import release
from diagxnet.labels.prepare import audit_table, grouping, prepare
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.reading.columns import columns_of
from stages.running import run


def main() -> None:
    params = read_params(data=DataParams, evaluate=EvaluateParams)
    data = params.data
    release(Path(".resume/pack"))  # data/packed is on DVC's record now
    columns = columns_of(data.columns.model_dump(), data.findings, params.evaluate.subgroups)
    summary = prepare(
        Path(data.root),
        Path("data/packed"),
        Path("data/prepared"),
        views=data.views,
        uncertain=data.uncertain,
        blank=data.blank,
        split_seed=data.split_seed,
        max_patients=data.max_patients,
        shares=data.shares.model_dump(),
        columns=columns,
        test=data.test,
        hierarchy=Hierarchy.of(data.hierarchy, columns.findings.keys, data.parents),
    )
    print(audit_table(summary, columns.findings))
    print(grouping(read_manifest("data/prepared"), data.columns.patient))


if __name__ == "__main__":
    run("prepare", main)
