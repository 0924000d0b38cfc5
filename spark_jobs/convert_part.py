"""The task of `standardise` for formats that are converted: records of bronze to FHIR JSON, a file a resource type."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.convert import Converted, Options, Record, dumps, format_named
from cohortlake.core.recount.tally import Tally
from spark_jobs.delta import COMPRESSION
from spark_jobs.fhir_types import UNMAPPED
from spark_jobs.parallel import Unit
from spark_jobs.standardise_fhir import CODES, COLUMNS, PASSING

RECORD = ["file", "file_hash", "file_modified_at", "offset", "payload", "encoding"]
# The tag of what a record only refers to: a fact of another record on it is the better one.
PASSING_TAG = "passing"


def record_of(row: Mapping[str, Any]) -> Record:
    """A record of bronze as its bytes came."""
    return Record(row["offset"], row["payload"].encode(row["encoding"] or "utf-8"))


def is_passing(resource: Mapping[str, Any]) -> bool:
    """Whether a resource says of itself that it was told in passing."""
    return any(tag.get("code") == PASSING_TAG for tag in resource.get("meta", {}).get("tag", ()))


class Made:
    """What a task makes: a resource a row, by type."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[Any]]] = {}

    def add(self, row: Mapping[str, Any], converted: Converted, lines: Sequence[str]) -> None:
        """The resources of a record, and each as a line of JSON."""
        for resource, line in zip(converted.resources, lines, strict=True):
            columns = self.rows.setdefault(resource["resourceType"], {name: [] for name in (*COLUMNS, PASSING, CODES)})
            for name in ("file", "file_hash", "file_modified_at", "offset"):
                columns[name].append(row[name])
            columns["payload"].append(line)
            columns[PASSING].append(is_passing(resource))
            unknown = [{"map": name, "code": code} for name, code in converted.codes_of(resource)]
            columns[CODES].append(unknown or None)

    def write(self, folder: Path) -> dict[str, dict[str, Any]]:
        """A file a resource type: its path and number of rows."""
        files = {}
        for name, columns in self.rows.items():
            made = pa.table({**columns, CODES: pa.array(columns[CODES], UNMAPPED)})
            path = folder / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(made, path, **COMPRESSION)
            files[name] = {"path": str(path), "rows": made.num_rows}
        return files


def _count(given: dict[str, Tally], converted: Converted, lines: Sequence[str]) -> None:
    """Tally what a converter gave, by type, before anything is done with it; as `resources.compare_json` does."""
    for resource, line in zip(converted.resources, lines, strict=True):
        number = int.from_bytes(hashlib.md5(line.encode(), usedforsecurity=False).digest()[:8], "little")
        kind = resource["resourceType"]
        given[kind] = given.get(kind, Tally()) + Tally(1, number)


def convert_part(unit: Unit) -> Unit:
    """One task: the unit's row groups of a bronze part.

    Gives the files by resource type, the rejected records, and what was counted: records, and of those not rejected
    the codes that no map knows, what no map takes, and warnings, by name; the hashes of the files that the records
    are of; the places of records that became nothing; and a tally of the JSON that the converter gave, by type.
    """
    options: Options = unit["options"]
    fmt = format_named(unit["format"])
    source = pq.ParquetFile(unit["source"])
    made, rejected = Made(), []
    codes: Counter[str] = Counter()
    left: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    records = 0
    hashes: set[str] = set()
    nothing: list[dict[str, Any]] = []
    given: dict[str, Tally] = {}
    for group in unit["groups"]:
        for row in source.read_row_group(group, columns=RECORD).to_pylist():
            records += 1
            hashes.add(row["file_hash"])
            converted = fmt.to_fhir(record_of(row), options)
            if converted.error is None:
                left += converted.unmapped
                warnings.update(problem.reason for problem in converted.problems if problem.severity == "warning")
                codes.update({f"{name}: {code}": count for (name, code), count in converted.codes.items()})
                lines = [dumps(resource) for resource in converted.resources]
                _count(given, converted, lines)
                made.add(row, converted, lines)
                nothing += [] if lines else [{name: row[name] for name in ("file_hash", "offset")}]
                continue
            errors = [problem for problem in converted.problems if problem.severity == "error"]
            reasons = [f"{problem.reason}: {problem.place}".removesuffix(": ") for problem in errors]
            place = {name: row[name] for name in ("file", "file_hash", "offset")}
            rejected.append({**place, "id": None, "reasons": reasons, "feed": unit["feed"], "resource_type": ""})
    return {
        "files": made.write(Path(unit["target"])),
        "records": records,
        "nothing": nothing,
        "given": {name: [tally.rows, tally.digest] for name, tally in given.items()},
        "hashes": sorted(hashes),
        "rejected": rejected,
        "codes": dict(codes),
        "left": dict(left),
        "warnings": dict(warnings),
    }
