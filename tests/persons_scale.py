"""How fast persons are linked, and in how much memory: `python -m tests.persons_scale 1000000 4GB`."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from itertools import combinations, islice

import pyarrow as pa

from cohortlake.core.persons.declared import load_model
from cohortlake.core.persons.demographics import SCHEMA
from cohortlake.core.persons.ids import assign
from spark_jobs.link import whole
from spark_jobs.link_persons import find_persons
from tests.persons_hospitals import keys
from tests.persons_population import Population, demographics

BATCH = 50_000


def megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(records: int, memory: str) -> None:
    model, started = load_model(), time.monotonic()
    people = enumerate(Population(seed=3, areas=max(400, records // 50)).records(records, families=0.1))
    persons: list[str] = []
    batches = []
    while batch := list(islice(people, min(BATCH, records - len(persons)))):
        persons += [one.person for _, one in batch]
        made = [demographics(one, f"{number:08}", model) for number, one in batch]
        batches.append(pa.Table.from_pylist(made, schema=SCHEMA))
    rows = pa.concat_tables(batches)
    print(f"{rows.num_rows:,} records made in {time.monotonic() - started:.0f} s; {megabytes():,} MB")
    started, used = time.monotonic(), time.process_time()
    found = find_persons(rows, model, memory=memory)
    seconds = time.monotonic() - started
    print(
        f"linked in {seconds:.1f} s ({time.process_time() - used:.0f} CPU-s), {rows.num_rows / seconds:,.0f} records/s"
    )
    print(f"{found.compared:,} pairs compared, {found.compared / seconds:,.0f} pairs/s; {found.pairs.num_rows:,} kept")
    counts = Counter(persons).values()
    true = sum(count * (count - 1) // 2 for count in counts)
    linked = [pair for group in found.clusters for pair in combinations(group, 2)]
    right = sum(persons[left] == persons[right] for left, right in linked)
    print(f"precision {right / len(linked):.4f}, recall {right / true:.4f} of {true:,} pairs; {megabytes():,} MB")
    started = time.monotonic()
    history = assign([], whole(found.clusters, keys(rows)), at="2026-01-01", mint=lambda record, n: f"{record}{n}")
    assign(history, whole(found.clusters, keys(rows)), at="2026-01-02", mint=lambda record, n: f"{record}{n}")
    print(f"ids given and carried over in {time.monotonic() - started:.1f} s; {megabytes():,} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2] if len(sys.argv) > 2 else "")
