"""What a silo has yet to publish: bronze parts that came since the last publish, and records that a replay asks for."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable

from cohortlake.core.catalog import Catalog
from cohortlake.core.lake import Lake
from cohortlake.core.language.declared import FORMATS
from spark_jobs import delta, quarantine
from spark_jobs.land_file import SCHEMA

BATCH_FILE = "_batch.json"
# A record that was held only since it refers to something that was not there is tried again with every batch.
RETRIED = " resolves"


@dataclass(frozen=True)
class BronzePart:
    """A bronze data file: all its records are of one feed and one file."""

    path: str
    feed: str
    rows: int
    is_replayed: bool = False


@dataclass(frozen=True)
class Pending:
    """A batch: its name, the bronze version that it reaches, its parts, and the quarantine rows that it takes up.

    One that `is_again` has all that bronze holds, since the declarations changed.
    """

    batch: str
    bronze_version: int
    parts: list[BronzePart]
    replayed: list[str]
    fingerprint: str
    is_again: bool = False

    def feeds(self) -> dict[str, int]:
        """Records by feed."""
        return _records(self.parts)

    def delivered(self) -> dict[str, int]:
        """Records by feed that are new: one that is taken up again was delivered before."""
        return _records(part for part in self.parts if not part.is_replayed)


def _records(parts: Iterable[BronzePart]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in parts:
        counts[part.feed] = counts.get(part.feed, 0) + part.rows
    return counts


def _progress(lake: Lake, silo: str) -> Path:
    return lake.ops("progress") / f"{silo}.json"


def published_version(lake: Lake, silo: str) -> int:
    """The bronze version that silver has caught up with, or -1."""
    path = _progress(lake, silo)
    return int(json.loads(path.read_text(encoding="utf-8"))["bronze_version"]) if path.exists() else -1


def mark_published(lake: Lake, silo: str, batch: str, bronze_version: int, receipt: Mapping[str, Any]) -> None:
    """Say that silver has caught up with a bronze version, with the receipt of the publish."""
    content = {"batch": batch, "bronze_version": bronze_version, "receipt": receipt}
    delta.write_json(_progress(lake, silo), content)


def publish_receipt(lake: Lake, silo: str) -> dict[str, Any] | None:
    """The receipt of the last publish."""
    path = _progress(lake, silo)
    return json.loads(path.read_text(encoding="utf-8")).get("receipt") if path.exists() else None


def ask_again(lake: Lake, silo: str) -> bool:
    """Have the next batch take up all that bronze holds; False where nothing of the silo was ever published."""
    path = _progress(lake, silo)
    if not path.exists():
        return False
    content = json.loads(path.read_text(encoding="utf-8"))
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    delta.write_json(path, {**content, "again": stamp})
    return True


def _asked_again(lake: Lake, silo: str) -> str | None:
    """When it was asked for, until that batch is published."""
    path = _progress(lake, silo)
    return json.loads(path.read_text(encoding="utf-8")).get("again") if path.exists() else None


def bronze_parts(lake: Lake, silo: str, version: int | None = None) -> dict[str, BronzePart]:
    """The parts of the silo's bronze table, by path; none before its first version."""
    path = lake.bronze(silo)
    if version == -1 or not delta.exists(path):
        return {}
    actions = pa.table(DeltaTable(str(path), version=version).get_add_actions(flatten=True))
    if actions.num_rows == 0:
        return {}
    columns = (actions[name].to_pylist() for name in ("path", "min.feed", "num_records"))
    return {name: BronzePart(str(path / name), feed, rows) for name, feed, rows in zip(*columns, strict=True)}


def _fingerprint(catalog: Catalog, silo: str) -> str:
    """A hash of the declarations that decide how the silo's records become FHIR."""
    digest = hashlib.sha256()
    folder = catalog.folder
    declared = [*(folder / "silos" / silo).rglob("*.yaml"), *(folder / "resources").glob("*.yaml")]
    declared += (FORMATS / catalog.silos[silo].format).rglob("*.yaml")
    for path in sorted([*declared, *(folder / "units").glob("*.yaml"), *(folder / "conceptmaps").glob("*.*")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _replayed(lake: Lake, silo: str, has_new: bool, is_again: bool) -> list[dict[str, Any]]:
    rows = []
    for row in quarantine.held(lake, silo):
        is_asked = row["status"] == quarantine.REPLAY or (is_again and row["status"] == quarantine.OPEN)
        waits = row["status"] == quarantine.OPEN and has_new
        waits = waits and all(reason.endswith(RETRIED) for reason in row["reasons"])
        if row["offset"] != quarantine.WHOLE_FILE and row["step"] != "land" and (is_asked or waits):
            rows.append(row)
    return rows


def _replay_parts(published: Iterable[str], rows: Iterable[dict[str, Any]], folder: Path) -> list[BronzePart]:
    """The bronze records of quarantine rows, as parts of their own, a feed and header each.

    Only `published` parts (their paths) are looked through: one that is new is in the batch already, with the records
    that a gate held which then stopped, or whose run was killed.
    """
    places: dict[str, set[int]] = {}
    for row in rows:
        places.setdefault(row["file_hash"], set()).add(row["offset"])
    if not places:
        return []
    files, found = sorted(published), []
    if not files:
        return []
    table = ds.dataset(files, schema=SCHEMA, format="parquet")
    for file_hash, offsets in places.items():
        wanted = (ds.field("file_hash") == file_hash) & ds.field("offset").isin(pa.array(sorted(offsets), pa.int64()))
        found.append(table.to_table(filter=wanted))
    records = pa.concat_tables(found)
    parts = []
    for feed in sorted(set(records["feed"].to_pylist())):
        of_feed = records.filter(pa.compute.equal(records["feed"], feed))
        for header in sorted(set(of_feed["header"].to_pylist()), key=str):
            same = pa.compute.fill_null(pa.compute.equal(of_feed["header"], header), True)
            chosen = of_feed.filter(same)
            path = folder / f"{feed}-{hashlib.sha256(str(header).encode()).hexdigest()[:8]}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(chosen, path)
            parts.append(BronzePart(str(path), feed, chosen.num_rows, is_replayed=True))
    return parts


def pending(lake: Lake, catalog: Catalog, silo: str) -> Pending | None:
    """The silo's next batch, or None where nothing is new and nothing is to be taken up again."""
    now = delta.version(lake.bronze(silo))
    done = published_version(lake, silo)
    before, after = bronze_parts(lake, silo, done), bronze_parts(lake, silo, now)
    new = [part for name, part in sorted(after.items()) if name not in before]
    again = _asked_again(lake, silo)
    replayed = _replayed(lake, silo, bool(new), again is not None)
    ids = sorted(row["quarantine_id"] for row in replayed)
    if again is not None:
        parts = [*new, *(replace(part, is_replayed=True) for _, part in sorted(before.items()))]
        name = f"{silo}-{now:06d}-again-{again}"
        return Pending(name, now, parts, ids, _fingerprint(catalog, silo), is_again=True) if parts else None
    if not new and not replayed:
        return None
    published = [part.path for part in before.values()]
    held = _replay_parts(published, replayed, lake.staging("phi", silo) / "replay")
    suffix = "-replay-" + hashlib.sha256("".join(ids).encode()).hexdigest()[:8] if ids else ""
    return Pending(f"{silo}-{now:06d}{suffix}", now, new + held, ids, _fingerprint(catalog, silo))


def read_batch(folder: Path) -> dict[str, Any] | None:
    """What `standardise` staged last, or None where nothing waits."""
    path = folder / BATCH_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
