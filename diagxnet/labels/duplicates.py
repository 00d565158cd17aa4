"""Whom one film belongs to: patients with images of the same film are of one split, and none of two tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagxnet.data.packed import titled
from diagxnet.reading.tables import Table

EXAMPLES = 3

Person = tuple[str, str]
"""Table and patient."""


@dataclass(frozen=True)
class Joined:
    """Patients who share a film, directly or through others.

    first: by patient, the first by name of those he is joined with; who shares none is not in it. left_out: by table
    the patients joined with one of a later table, which is nearer to test: none of their images may be used. counts:
    for summary.json. warnings: for people.
    """

    first: dict[str, str]
    left_out: dict[str, set[str]]
    counts: dict
    warnings: list[str]

    def groups(self, patients: pd.Series) -> np.ndarray:
        """[rows] by whom splits and folds are drawn: patients, but for those who are joined."""
        names = patients.to_numpy(object)
        return np.array([self.first.get(name, name) for name in names], object) if self.first else names


def join_patients(tables: Sequence[Table], pairs: pd.DataFrame) -> Joined:
    """Joins the patients of the `tables`, train first, by `pairs` of images that are one film (`read_duplicates`)."""
    owners = _owners(tables, pairs)
    one = [owners[key] for key in zip(pairs["table"], pairs["path"], strict=True)]
    other = [owners[key] for key in zip(pairs["same_table"], pairs["same_path"], strict=True)]
    across = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    groups = _connected(across) if across else {}
    order = [table.name for table in tables]
    first: dict[str, str] = {}
    left_out: dict[str, set[str]] = {}
    for group in groups.values():
        latest = max(order.index(table) for table, _ in group)
        for table, patient in group:
            first[patient] = min(name for _, name in group)
            if order.index(table) < latest:
                left_out.setdefault(table, set()).add(patient)
    counts = {"pairs": len(pairs), "of_two_patients": len(across), "patients_joined": sum(map(len, groups.values()))}
    counts |= {"patients_left_out": {table: len(left_out[table]) for table in order if table in left_out}}
    return Joined(first, left_out, counts, _warnings(counts, left_out, groups))


def _connected(pairs: Sequence[tuple[Person, Person]]) -> dict[int, list[Person]]:
    """Those in `pairs`, by the number of the group that pairs connect them to."""
    from scipy.sparse import coo_array  # a quarter of a second and 28 MiB, which hardly any data set needs
    from scipy.sparse.csgraph import connected_components

    people = sorted({person for pair in pairs for person in pair})
    place = {person: number for number, person in enumerate(people)}
    one, other = np.array([(place[a], place[b]) for a, b in pairs], np.int64).T
    graph = coo_array((np.ones(len(pairs)), (one, other)), shape=(len(people), len(people)))
    groups: dict[int, list[Person]] = {}
    for person, number in zip(people, connected_components(graph, directed=False)[1].tolist(), strict=True):
        groups.setdefault(number, []).append(person)
    return groups


def _owners(tables: Sequence[Table], pairs: pd.DataFrame) -> dict[tuple[str, str], Person]:
    """Table and patient by table and path, of the images in `pairs`."""
    wanted = {*pairs["path"], *pairs["same_path"]}
    owners = {}
    for table in tables if wanted else ():
        own = table.frame[table.frame["path"].isin(wanted)]
        owners |= {
            (table.name, path): (table.name, patient) for path, patient in zip(own["path"], own["patient"], strict=True)
        }
    return owners


def _warnings(counts: dict, left_out: dict[str, set[str]], groups: dict[int, list[Person]]) -> list[str]:
    if not groups:
        return []
    largest = max(map(len, groups.values()))
    lines = [
        f"{counts['patients_joined']:,} patients share films with others (data/packed/duplicates.csv: "
        f"{counts['of_two_patients']:,} pairs): they are in one split with them, {largest:,} together at the most"
    ]
    for table, patients in left_out.items():
        names = ", ".join(sorted(patients)[:EXAMPLES]) + (", ..." if len(patients) > EXAMPLES else "")
        lines.append(
            f"{len(patients):,} patients of {titled(table)} have films that a table nearer to test has, too: none of "
            f"their images is used ({names})"
        )
    return lines
