"""Gold's persons: the person of each patient, and one row a human made of its records by declared rules.

Which record is of whom was found by `link`; here nothing is compared. DuckDB does the counting, no JVM is started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog.attributes import AGREED, LOWEST, UNKNOWN, Attribute, Resolution
from cohortlake.core.lake import Lake
from cohortlake.core.sql import identifier, literal
from spark_jobs.link_tables import live, read_members
from spark_jobs.pseudonyms import pseudonym_of, vault_secret

PERSON_KEYS = pa.schema({"patient_key": pa.string(), "person_key": pa.string()})
# What a rule likes best is lowest. `other` holds the values that the records of the same human say beside this one.
SCORES = {
    "most_precise": "CAST(list_bool_or(list_transform(others, lambda other: {coarse})) AS INT)",
    "most_sources": "-sources",
    "most_trusted": "trust",
    "any_true": "CAST(NOT value AS INT)",
}
# The first of a month stands for a day that is not known, 1 January for a month that is not.
COARSE = """other <> value AND (
    day(value) = 1 AND day(other) <> 1 AND date_trunc('month', other) = date_trunc('month', value)
    OR day(value) = 1 AND month(value) = 1 AND (day(other) <> 1 OR month(other) <> 1) AND year(other) = year(value))"""


def person_keys(lake: Lake) -> pa.Table:
    """The person of each patient that was linked: its pseudonyms (PERSON_KEYS), as gold holds them."""
    secret = vault_secret(lake)
    members = sorted(live(read_members(lake)).items())
    keys = [pseudonym_of(secret, silo, "Patient", patient) for (silo, patient), _ in members]
    persons = [person for _, person in members]
    return pa.table([pa.array(keys, pa.string()), pa.array(persons, pa.string())], schema=PERSON_KEYS)


def with_persons(rows: pa.Table, declared: Mapping[str, str], persons: pa.Table) -> pa.Table:
    """Rows with the columns that `person_of` declares: null where the patient is not linked, or none is named."""
    for column, patient in declared.items():
        at = pc.index_in(rows[patient], persons["patient_key"])
        rows = rows.append_column(column, persons["person_key"].combine_chunks().take(at))
    return rows


def persons_of(records: Sequence[Path] | pa.Table, resolution: Resolution, schema: pa.Schema) -> pa.Table:
    """One row a human (`schema`), by `person_key`, of the rows of `patients`; those of no person are left out.

    The order of the records does not matter.
    """
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as con:
        given = con.from_arrow(records) if isinstance(records, pa.Table) else con.read_parquet([*map(str, records)])
        given.create_view("given")
        con.execute(f"CREATE TABLE records AS {_placed(resolution)}")
        con.execute(
            "CREATE TABLE persons AS SELECT person_key, count(*) AS record_count, count(DISTINCT silo) AS silo_count, "
            "count(DISTINCT source) AS source_count FROM records GROUP BY person_key"
        )
        joined = ""
        for number, (name, attribute) in enumerate(resolution.attributes.items()):
            con.execute(f"CREATE TABLE attribute{number} AS {attribute_sql(name, attribute)}")
            joined += f" JOIN attribute{number} USING (person_key)"
        columns = ", ".join(map(identifier, schema.names))
        made = con.sql(f"SELECT {columns} FROM persons{joined} ORDER BY person_key")  # noqa: S608
        return made.to_arrow_table().cast(schema)


def _placed(resolution: Resolution) -> str:
    """The records of persons with their `source`, and their silo's place in the order of trust (`trust`, from 0)."""
    cases = "".join(f" WHEN {literal(s)} THEN {literal(source)}" for s, source in resolution.source_of().items())
    source = f"CASE silo{cases} ELSE silo END" if cases else "silo"
    known = "".join(f" WHEN {literal(silo)} THEN {place}" for place, silo in enumerate(resolution.trust))
    last = f"CASE silo{known} ELSE {len(resolution.trust)} END" if known else "0"
    return (
        f"SELECT *, {source} AS source, dense_rank() OVER (ORDER BY {last}, silo) - 1 AS trust "  # noqa: S608
        "FROM given WHERE person_key IS NOT NULL"
    )


def attribute_sql(name: str, attribute: Attribute) -> str:
    """The SQL of each person's value of an attribute, with how many values there were and why this one is used.

    `votes` has a row a person and value. Its rank by rule after rule is `score1`, `score2`, …; `left1` counts the
    values that are as good by the first rule, `left2` by the first two. The rule that leaves one is the basis.
    """
    value, *beside = (identifier(column) for column in attribute.columns)
    unknown = f"lower(CAST({value} AS VARCHAR)) IN ({', '.join(literal(one.lower()) for one in attribute.unknown)})"
    is_unknown = unknown if attribute.unknown else "false"
    words = "".join(
        f", arg_min({column}, (trust, {column})) FILTER ({column} IS NOT NULL) AS {column}" for column in beside
    )
    scores = [SCORES[rule].format(coarse=COARSE) for rule in attribute.rules]
    numbered = ", ".join(f"{score} AS score{n}" for n, score in enumerate(scores))
    names = [f"score{n}" for n in range(len(scores))]
    left = ", ".join(
        f"count(*) OVER (PARTITION BY person_key, is_unknown, {', '.join(names[: n + 1])}) AS left{n}"
        for n in range(len(names))
    )
    basis = " ".join(f"WHEN left{n} = 1 THEN {literal(rule)}" for n, rule in enumerate(attribute.rules))
    shown = ", ".join((f"value AS {value}", *beside))
    return f"""
        WITH votes AS (
            SELECT person_key, {value} AS value, {is_unknown} AS is_unknown, count(DISTINCT source) AS sources,
                min(trust) AS trust{words}
            FROM records WHERE {value} IS NOT NULL GROUP BY person_key, {value}
        ), beside AS (
            SELECT *, count(*) FILTER (NOT is_unknown) OVER (PARTITION BY person_key) AS known,
                list(value) FILTER (NOT is_unknown) OVER (PARTITION BY person_key) AS others
            FROM votes
        ), scored AS (SELECT *, {numbered} FROM beside),
        counted AS (
            SELECT *, {left},
                row_number() OVER (PARTITION BY person_key ORDER BY is_unknown, {", ".join(names)}, value) AS place
            FROM scored
        )
        SELECT persons.person_key, {shown}, coalesce(known, 0) AS {identifier(f"{name}_count")},
            CASE WHEN known = 0 THEN {literal(UNKNOWN)} WHEN known = 1 THEN {literal(AGREED)} {basis}
                WHEN known > 1 THEN {literal(LOWEST)} END AS {identifier(f"{name}_basis")},
            coalesce(known > 1, false) AS {identifier(f"has_{name}_conflict")}
        FROM persons LEFT JOIN counted ON counted.person_key = persons.person_key AND place = 1
    """  # noqa: S608 (names and values of the declaration, quoted)
