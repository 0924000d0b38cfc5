"""match: the same fact by two doors. Resources of two silos that tell one fact are paired, and what differs is counted.

Both rows stay in silver, each with where it came from; gold has the one that the protocol prefers, and whoever refers
to the other refers to it (`replaced_keys`). Which pairs there are is made anew from what is live, so the order in which
the doors deliver does not matter.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog.doors import SameFacts
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.recount.tally import live_rows
from cohortlake.core.sql import literal
from cohortlake.core.views import compile_view
from cohortlake.core.views.needed import needed
from spark_jobs import delta
from spark_jobs.books import check_books, receipt, recover
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.pseudonyms import pseudonym_of
from spark_jobs.view_source import lake_resources, silo_key
from spark_jobs.views import view_frame

SCHEMA = pa.schema(
    [
        ("resource_type", pa.string()),
        ("silo", pa.string()),
        ("id", pa.string()),
        ("stands_silo", pa.string()),
        ("stands_id", pa.string()),
        ("differs", pa.list_(pa.string())),
    ]
)
MATCHED, CONFLICTED, ALONE, OTHER_ALONE = "matched", "conflicted", "alone", "other_alone"
# Times are compared as moments, texts without regard to case.
PLAIN = """CASE WHEN {0} IS NULL THEN NULL WHEN regexp_matches(CAST({0} AS VARCHAR), '^\\d{{4}}-\\d\\d-\\d\\dT')
  THEN CAST(epoch_us(TRY_CAST({0} AS TIMESTAMPTZ)) AS VARCHAR) ELSE lower(trim(CAST({0} AS VARCHAR))) END"""


def sources(ctx: Context) -> dict[str, Any]:
    """What the pairs are made from: the versions of the silver tables, and the declarations."""
    declared = {name: silo.same_facts for name, silo in ctx.catalog.silos.items() if silo.same_facts}
    types = sorted({name for facts in declared.values() for name in facts.types})
    said = {name: facts.model_dump() for name, facts in declared.items()}
    return {"silver": {name: delta.version(ctx.lake.silver(name)) for name in types}, "declared": said}


def run(ctx: Context) -> StepResult:
    """Pair the silos that declare `same_facts`. Books: resources in = pairs found + resources that stand alone."""
    path = ctx.lake.ops("progress") / "same_facts.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    recover(ctx.lake, kept.get("receipt"))
    made_from = sources(ctx)
    if kept.get("made_from") == made_from:
        return StepResult([], {"unchanged": True, **kept.get("facts", {})})
    books, pairs, counts = [], [], {}
    connection = delta_connection()
    for name, silo in ctx.catalog.silos.items():
        if silo.same_facts is not None:
            found, counts[name] = _Doors(ctx, name, silo.same_facts).pair()
            pairs.append(found)
            for kind, count in counts[name].items():
                paired = count[MATCHED] + count[CONFLICTED]
                rows = live_rows(connection, ctx.lake.silver(kind), name)
                books.append(Book(f"{name}.{kind}", rows, count[ALONE], superseded=paired))
    check_books(f"match.{ctx.scope}", books)
    delta.replace_rows(ctx.lake.same_facts, pa.concat_tables([SCHEMA.empty_table(), *pairs]), "true")
    facts = {"doors": counts}
    content = {"made_from": made_from, "facts": facts, "receipt": receipt(ctx, f"match.{ctx.scope}", books)}
    delta.write_json(path, content)
    return StepResult(books, facts)


class _Doors:
    """Two silos of one hospital."""

    def __init__(self, ctx: Context, silo: str, facts: SameFacts) -> None:
        self._ctx, self._silo, self._facts = ctx, silo, facts
        self._folder = ctx.lake.staging("phi", ctx.scope) / silo
        self._duckdb = duckdb.connect(config={"temp_directory": str(self._folder / "spill")})
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self._duckdb.execute("CREATE TABLE same (type VARCHAR, id VARCHAR, other VARCHAR, differs VARCHAR[])")

    def pair(self) -> tuple[pa.Table, dict[str, dict[str, int]]]:
        """The pairs (SCHEMA), and for each type how many resources were paired or stand alone.

        Types go in the order declared: a reference in a key is looked up among the pairs of the types before.
        """
        counts = {}
        for name, view in self._facts.views().items():
            if delta.exists(self._ctx.lake.silver(name)):
                self._read(name, view)
                counts[name] = self._paired(name)
        shutil.rmtree(self._folder, ignore_errors=True)
        this_stands = self._facts.prefers == self._silo
        loser, stands = (self._facts.other, self._silo) if this_stands else (self._silo, self._facts.other)
        ids = ("other", "id") if this_stands else ("id", "other")
        sql = f"SELECT type, {literal(loser)}, {ids[0]}, {literal(stands)}, {ids[1]}, differs FROM same"  # noqa: S608
        pairs = self._duckdb.execute(sql).arrow().read_all().rename_columns(SCHEMA.names).cast(SCHEMA)
        return pairs, counts

    def _read(self, name: str, view: dict[str, Any]) -> None:
        """The rows of both silos' resources, as a DuckDB table of the type's name."""
        compiled = compile_view(view)
        table = self._ctx.lake.silver(name)
        held = {path.name.partition("=")[2] for path in table.glob("silo=*")}
        silos = [silo for silo in (self._silo, self._facts.other) if silo in held]
        target = self._folder / name
        shutil.rmtree(target, ignore_errors=True)
        resources = lake_resources(self._ctx.spark, table, needed(compiled), silos)
        view_frame(resources, compiled, key=silo_key).write.parquet(str(target))
        fact = self._facts.types[name]
        keys = ", ".join(f"{self._reference(PLAIN.format(f'key{n}'))} AS key{n}" for n in range(len(fact.key)))
        compared = "".join(f", {PLAIN.format(f'compare{n}')} AS compare{n}" for n in range(len(fact.compare)))
        self._duckdb.execute(
            f"CREATE TABLE {name} AS SELECT split_part(resource_key, '/', 1) AS silo, "  # noqa: S608
            f"substr(resource_key, instr(resource_key, '/') + 1) AS id, {keys}{compared} "
            f"FROM read_parquet('{target}/*.parquet')"
        )

    def _reference(self, sql: str) -> str:
        """A key's value, or where it is the key of a resource of this silo that has a pair, that of its pair."""
        mine = literal(f"{self._silo}/".lower())
        theirs = literal(f"{self._facts.other}/".lower())
        known = f"SELECT any_value({theirs} || lower(other)) FROM same WHERE {mine} || lower(id) = {sql}"  # noqa: S608
        return f"coalesce(({known}), {sql})"

    def _paired(self, name: str) -> dict[str, int]:
        """Pair a type's rows one to one: those that agree in all first, then those whose key agrees."""
        fact = self._facts.types[name]
        keys, compared = [f"key{n}" for n in range(len(fact.key))], [f"compare{n}" for n in range(len(fact.compare))]
        whole = " AND ".join(f"{key} IS NOT NULL" for key in keys)
        for columns in (keys + compared, keys):
            same = " AND ".join(f"a.{c} IS NOT DISTINCT FROM b.{c}" for c in (*columns, "place"))
            sides = {}
            for side, silo, taken in (("a", self._silo, "id"), ("b", self._facts.other, "other")):
                free = f"id NOT IN (SELECT {taken} FROM same WHERE type = {literal(name)})"  # noqa: S608
                ranked = f"row_number() OVER (PARTITION BY {', '.join(columns)} ORDER BY id) AS place"
                chosen = f"silo = {literal(silo)} AND {whole} AND {free}"
                sides[side] = f"(SELECT *, {ranked} FROM {name} WHERE {chosen})"  # noqa: S608
            named = ", ".join(
                f"CASE WHEN a.compare{n} <> b.compare{n} THEN {literal(path)} END"
                for n, path in enumerate(fact.compare)
            )
            differs = f"list_filter([{named}], lambda x: x IS NOT NULL)" if named else "CAST([] AS VARCHAR[])"
            self._duckdb.execute(
                f"INSERT INTO same SELECT {literal(name)}, a.id, b.id, {differs} "  # noqa: S608
                f"FROM {sides['a']} a JOIN {sides['b']} b ON {same}"
            )
        of_type = f"FROM same WHERE type = {literal(name)}"
        counts = {
            MATCHED: f"SELECT count(*) {of_type} AND len(differs) = 0",
            CONFLICTED: f"SELECT count(*) {of_type} AND len(differs) > 0",
        }
        for kind, silo, taken in ((ALONE, self._silo, "id"), (OTHER_ALONE, self._facts.other, "other")):
            alone = f"ANTI JOIN (SELECT {taken} AS id {of_type}) s ON r.id = s.id"
            counts[kind] = f"SELECT count(*) FROM {name} r {alone} WHERE r.silo = {literal(silo)}"  # noqa: S608
        return {kind: int(self._duckdb.execute(sql).fetchall()[0][0]) for kind, sql in counts.items()}


def replaced_rows(lake: Lake) -> pa.Table:
    """The resources that another stands for, and which one that is (SCHEMA)."""
    found = delta.rows(lake.same_facts)
    return SCHEMA.empty_table() if found is None else found


def replaced_keys(lake: Lake, secret: str) -> pa.Table:
    """Gold's keys of resources that another stands for: `key`, and `stands`, the key of that other one."""
    rows = replaced_rows(lake).to_pylist()
    old = [pseudonym_of(secret, row["silo"], row["resource_type"], row["id"]) for row in rows]
    new = [pseudonym_of(secret, row["stands_silo"], row["resource_type"], row["stands_id"]) for row in rows]
    return pa.table({"key": pa.array(old, pa.string()), "stands": pa.array(new, pa.string())})


def stand(rows: pa.Table, own: str, replaced: pa.Table) -> pa.Table:
    """A curated table's rows with what stands: one whose `own` key is replaced goes, other keys become the new ones."""
    if not replaced.num_rows or not rows.num_rows:
        return rows
    rows = rows.filter(pc.invert(pc.is_in(rows[own], replaced["key"])))
    for name in rows.column_names:
        if name.endswith("_key") and pa.types.is_string(rows.schema.field(name).type):
            at = pc.index_in(rows[name], replaced["key"])
            new = pc.if_else(pc.is_valid(at), replaced["stands"].combine_chunks().take(at), rows[name])
            rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), new)
    return rows
