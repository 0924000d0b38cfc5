"""The recount of a whole lake: each boundary between its places, from the source files to the releases.

It reads files and tables as a stranger would, and writes nothing. Where a side is no longer there (a source file that
was taken away, an older version) a note says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from cohortlake.core.catalog import Catalog
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.gold import Sources, reaches_no_table, recount_table, recount_words
from cohortlake.core.recount.land import recount_landed
from cohortlake.core.recount.releases import recount_releases
from cohortlake.core.recount.silver import recount_silo
from cohortlake.core.recount.tally import file_digest

Progress = Callable[[int, int, str], None]
MEMBERS = pa.schema([(name, pa.string()) for name in ("silo", "patient_id", "person_id")])
DOUBLES = pa.schema([(name, pa.string()) for name in ("resource_type", "silo", "id", "stands_silo", "stands_id")])


def recount_lake(
    lake: Lake, catalog: Catalog, data: Path | None, progress: Progress = lambda done, total, what: None
) -> Iterator[Finding]:
    """The findings of every boundary, in the order of the flow. Without a `data` folder the sources are left out."""
    silos = [name for name in catalog.silos if _is_table(lake.bronze(name))]
    tables = [table for table in catalog.tables.values() if _is_table(lake.gold(table.name))]
    cohorts = [name for name in catalog.cohorts if lake.releases(name).is_dir()]
    total, done = 2 * len(silos) + len(tables) + len(cohorts) + 1, 0
    connection = delta_connection()
    for silo in silos:
        if data is not None:
            progress(done, total, f"{silo}: files")
            yield from _landed(lake, catalog, silo, data)
        progress(done + 1, total, f"{silo}: records")
        yield from recount_silo(connection, lake, catalog, silo)
        done += 2
    sources = _sources(lake, catalog)
    files = {table.name: _files(lake.gold(table.name)) for table in catalog.tables.values()}
    for table in tables:
        progress(done, total, table.name)
        yield from recount_table(connection, catalog, table, sources, files)
        done += 1
    if tables:
        yield recount_words(connection, catalog, sources)
    for cohort in cohorts:
        progress(done, total, cohort)
        yield from recount_releases(connection, lake, cohort)
        done += 1
    progress(done, total, "books")
    yield from _accounting(lake)
    progress(total, total, "")


def unreached(lake: Lake, catalog: Catalog) -> dict[str, int]:
    """The live rows of each resource type that reaches no curated table."""
    silver = sorted(path.parent for path in (lake.root / "phi/silver").glob("*/_delta_log"))
    held = {path.name: (path, int(DeltaTable(str(path)).version())) for path in silver}
    return reaches_no_table(delta_connection(), catalog, held)


def _is_table(path: Path) -> bool:
    return (path / "_delta_log").is_dir() and DeltaTable.is_deltatable(str(path))


def _files(table: Path) -> list[Path]:
    return [Path(file) for file in DeltaTable(str(table)).file_uris()] if _is_table(table) else []


def _sources(lake: Lake, catalog: Catalog) -> Sources:
    """What the live gold was made from, as its publish noted it."""
    noted = lake.ops("progress") / "gold.json"
    made_from = json.loads(noted.read_text(encoding="utf-8"))["made_from"] if noted.exists() else {}
    versions: Mapping[str, int] = made_from.get("silver", {})
    silver = {name: (lake.silver(name), version) for name, version in versions.items() if version >= 0}
    secret = lake.vault / "pseudonym.key"
    doubles = DOUBLES.empty_table()
    if _is_table(lake.same_facts):
        at = made_from.get("same_facts")
        held = DeltaTable(str(lake.same_facts), version=at if isinstance(at, int) and at >= 0 else None)
        doubles = held.to_pyarrow_table(columns=DOUBLES.names).cast(DOUBLES)
    members, linked = MEMBERS.empty_table(), lake.root / "phi/persons/members"
    if _is_table(linked):
        at = made_from.get("persons")
        held = DeltaTable(str(linked), version=at if isinstance(at, int) and at >= 0 else None).to_pyarrow_table()
        members = held.filter(pc.is_null(held["until"])).select(MEMBERS.names).cast(MEMBERS)
    key = secret.read_text(encoding="ascii").strip() if secret.exists() else ""
    return Sources(silver, key, doubles, members)


@dataclass(frozen=True)
class _Held:
    """What bronze and quarantine hold of a file: its feed and name, the parts, and the records that were rejected."""

    feed: str
    name: str
    parts: list[Path]
    rejected: pa.Table


def _landed(lake: Lake, catalog: Catalog, silo: str, data: Path) -> Iterator[Finding]:
    """A finding a feed: its files against bronze."""
    declared = catalog.silos[silo]
    folder = data / declared.folder
    there = {file_digest(path): path for path in sorted(folder.rglob("*")) if path.is_file()} if folder.is_dir() else {}
    held = _held(lake, silo)
    erased = _is_table(lake.erased)
    found: dict[str, Finding] = {}
    for digest, file in held.items():
        of_feed = found.setdefault(file.feed, Finding("file → bronze", f"{silo}.{file.feed}"))
        if digest not in there:
            of_feed.notes.append("a file that was landed is no longer there")
            continue
        counted = recount_landed(there[digest], declared.format, file.parts, None, None, None)
        rejected = file.rejected.num_rows
        of_feed.came, of_feed.out = of_feed.came + counted.records, of_feed.out + counted.rows
        if rejected or erased:
            # What was rejected is compared by number: its bytes are in quarantine.
            lost = counted.must.rows - counted.does.rows
            of_feed.classes["quarantined"] = of_feed.classes.get("quarantined", 0) + rejected
            if lost > rejected and not erased:
                of_feed.problems.append(f"{file.name}: {lost - rejected:,} records are neither in bronze nor held")
            continue
        of_feed.must = counted.must if of_feed.must is None else of_feed.must + counted.must
        of_feed.does = counted.does if of_feed.does is None else of_feed.does + counted.does
        of_feed.problems += [f"{file.name}: {problem}" for problem in counted.problems]
    yield from found.values()


def _held(lake: Lake, silo: str) -> dict[str, _Held]:
    """What is held of each file, by its SHA-256."""
    table = DeltaTable(str(lake.bronze(silo)))
    actions = pa.table(table.get_add_actions(flatten=True))
    found: dict[str, _Held] = {}
    none = pa.table({"offset": pa.array([], pa.int64())})
    for action in actions.to_pylist() if actions.num_rows else []:
        digest = action["min.file_hash"]
        held = found.setdefault(digest, _Held(action["min.feed"], action["min.file"], [], none))
        held.parts.append(lake.bronze(silo) / action["path"])
    if _is_table(lake.quarantine):
        kept = DeltaTable(str(lake.quarantine)).to_pyarrow_table(
            columns=["silo", "step", "feed", "file", "file_hash", "offset"]
        )
        kept = kept.filter(
            pc.and_(pc.equal(kept["silo"].cast(pa.string()), silo), pc.equal(kept["step"].cast(pa.string()), "land"))
        )
        for digest in kept["file_hash"].unique().to_pylist():
            rows = kept.filter(pc.equal(kept["file_hash"].cast(pa.string()), digest))
            if digest in found:
                found[digest] = _Held(found[digest].feed, found[digest].name, found[digest].parts, rows)
    return found


def _accounting(lake: Lake) -> Iterator[Finding]:
    """The books that the steps wrote, as they stand: whether each balances."""
    place = lake.ops("accounting")
    if not _is_table(place):
        return
    rows = DeltaTable(str(place)).to_pyarrow_table().to_pylist()
    found = Finding("books", "ops/accounting", len(rows), len(rows))
    names = ("rows_out", "quarantined", "superseded", "deleted", "not_mapped", "left_out")
    for row in rows:
        if row["rows_in"] != sum(row.get(name) or 0 for name in names):
            found.problems.append(f"{row['step']} of run {row['run_id']}: the book of {row['table']} does not balance")
        elif (row.get("digest_in") or "") != (row.get("digest_out") or ""):
            found.problems.append(f"{row['step']} of run {row['run_id']}: the digests of {row['table']} are not equal")
    yield found
