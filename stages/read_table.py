"""`python -m stages.read_table NAME` reads the table of the member NAME, of section `tables`, into models/more/NAME."""

import sys
from pathlib import Path

from diagxnet.data.members import member_folder
from diagxnet.data.prepared import read_findings, read_manifest
from diagxnet.params.checked import read_params
from diagxnet.params.tables import TablesParams
from diagxnet.tables.given import take_table
from stages.running import run


def main(name: str) -> None:
    params = read_params(tables=TablesParams)
    prepared, folder = Path("data/prepared"), member_folder(Path("models"), name)
    lines = take_table(name, Path(params.tables[name]), read_manifest(prepared), read_findings(prepared), folder)
    print("\n".join(f"read_table: {line}" for line in lines), flush=True)


if __name__ == "__main__":
    name = sys.argv[1]
    run(f"train_{name}", lambda: main(name))
