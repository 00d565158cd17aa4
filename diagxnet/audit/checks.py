"""The audit of a finished run: is what its metrics say what its files say, and did no test label or patient leak?

It asks the files, not the code that made them: tables are read anew, logits are made again from the models, metrics are
computed again by `recomputed`. It finds mistakes and mixed-up files; it is no proof against somebody who forges all of
them together.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from diagxnet.audit.claims import Claims, Pipeline
from diagxnet.audit.data import counts, patients, test_labels
from diagxnet.audit.figures import calibration, logits, metrics, summary
from diagxnet.audit.run import DAMAGE, MEND, AuditError, Run, told
from diagxnet.console.errors import InputError


def audit(
    data: Path,
    models: Path,
    claims: Claims,
    pipeline: Pipeline,
    *,
    tables: Path,
    named: Mapping[str, str | None],
    test_table: str | None = None,
    unit: str,
    min_positives: int,
    precision: str,
    images: int = 8,
    columns: Mapping[str, str | list[float]] | None = None,
) -> list[str]:
    """Checks a run and returns a line for each check; raises InputError, a line too, at the first that fails.

    tables: folder of the tables, read where a column of theirs names the patient. named: their columns, as
    `patients.strangers` wants them. test_table: the one of data.test, below `tables` or absolute. unit,
    min_positives: those of the evaluation. precision: `train.precision`, in which logits are made again, of so many
    `images` of each split, evenly spaced; a tampered logit of another image is then found by the hash in `pipeline`
    alone. columns: further ones that make groups, as `evaluate.subgroups` has them.
    """
    run = Run(
        data,
        models,
        claims,
        pipeline,
        tables,
        named,
        test_table,
        unit,
        min_positives,
        precision,
        images,
        columns or {},
    )
    lines = []
    for name, check in CHECKS.items():
        try:
            lines.append(f"{name}: {check(run)}")
        except AuditError as fault:
            raise InputError(f"this run fails its audit: {name}: {fault} ({MEND})") from fault.__cause__
        except DAMAGE as error:
            raise InputError(f"this run fails its audit: {name}: {told(error)} ({MEND})") from error
    return lines


def recorded(run: Run) -> str:
    if run.pipeline.changed:
        raise AuditError(f"{', '.join(sorted(run.pipeline.changed))}: not what the run recorded in dvc.lock")
    return "models, labels and logits are those that the run recorded"


CHECKS: dict[str, Callable[[Run], str]] = {
    "recorded": recorded,
    "patients": patients,
    "test labels": test_labels,
    "counts": counts,
    "logits": logits,
    "calibration": calibration,
    "metrics": metrics,
    "summary": summary,
}
"""In this order: what reads a file comes after the check that it fits the others."""
