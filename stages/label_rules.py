"""`python -m stages.label_rules LABELER.csv GROUNDTRUTH.csv` tells how often each label of a labeler is true, and the
rules for -1 and blank that follow. It writes nothing."""

import argparse
from pathlib import Path

from diagxnet.label_rules import compare, rule_for_blank, rule_for_uncertain, table
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from stages.running import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.label_rules", description=__doc__)
    parser.add_argument("labeler", type=Path, help="table of the labels that were read off reports")
    parser.add_argument("truth", type=Path, help="table of the labels of those who saw the films")
    parser.add_argument("--key", default="Study", metavar="COLUMN", help="names the study in both (default: Study)")
    arguments = parser.parse_args()
    data = read_params(data=DataParams).data
    now = data.uncertain
    findings, confirmed, lines = compare(arguments.labeler, arguments.truth, arguments.key)
    print("\n".join((*lines, table(findings, confirmed, now))))
    rules = {key: rule_for_uncertain(own) for key, own in confirmed.items()}
    changed = [f"-S data.uncertain.{key}={rule}" for key, rule in rules.items() if rule != now.get(key, "ignore")]
    negative = sum(rule_for_blank(own) == "negative" for own in confirmed.values())
    print(f"blank: negative for {negative} of {len(findings)} findings; data.blank, for all of them, is {data.blank}")
    print(f"to take the rules for -1: {' '.join(changed)}" if changed else "params.yaml has these rules for -1")


if __name__ == "__main__":
    run("label_rules", main, timed=False)
