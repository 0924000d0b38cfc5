"""`cohortlake new silo|table|cohort`: a declaration to fill in, with its example."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Annotated

import typer

from cohortlake.cli import PROJECT, CatalogOption, app, out
from cohortlake.core.errors import UsageError
from cohortlake.core.fhir.definitions import resource_types

commands = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(commands, name="new", help="Scaffold a silo, a table or a cohort, with its example.")

NameArgument = Annotated[str, typer.Argument(help="Its name: small letters, digits, underscores.")]

SILO = """\
# The data-collection protocol of {name}: fill in what stands in <angle brackets>, then have it signed.
title: <Hospital, system, kind of extract>
owner: <role that answers for the data at the source>
steward: <role that answers for them here>
protocol:
  version: 0.1.0
  # A silo runs when it is signed: a date, and the roles that signed.
  signed_off: null
  signed_by: []
purpose: <what the data are collected for>
legal_basis: <the rule that allows it>
format: {format}
folder: {name}
freshness: {{ max_age_days: 35 }}
# concept_maps: [name]  # maps of catalog/conceptmaps for codes of its own: docs/terminology.md
quirks: []
feeds:
{feeds}"""

MAPPING = """\
# One resource from each row of {feed}. Strings that start with = are SQL over its columns; see docs/mappings.md.
resource: {resource}
from: {feed}
id: {id}
elements:
  {hint}
"""

TABLE = """\
title: <Title>
description: <What is in it, and what was left out and why.>
grain: <what one row is>
from: view
needs: [Patient]
key: [{name}_key]
columns:
  {name}_key: {{ type: STRING, privacy: none, is_required: true, description: "The record: a pseudonym." }}
  silo: {{ type: STRING, privacy: none, is_required: true, description: The source system. }}
  patient_key: {{ type: STRING, privacy: none, is_required: true, description: The patient, references: patients }}
"""

VIEW = """\
{{
  "resourceType": "https://sql-on-fhir.org/ig/StructureDefinition/ViewDefinition",
  "name": "{name}",
  "status": "draft",
  "resource": "Observation",
  "select": [
    {{"column": [
      {{"name": "{name}_key", "path": "getResourceKey()"}},
      {{"name": "patient_key", "path": "subject.getReferenceKey(Patient)"}}
    ]}}
  ]
}}
"""

COHORT = """\
title: <Title>
description: <Who, and what for.>
version: 0.1.0
inclusion: [<criterion 1, which index.sql gives as in_1>]
exclusion: [<criterion 1, which index.sql gives as out_1>]
index_date: <which date, and why nothing after it is known>
outcome: <what is foretold>
outcome_window_days: 365
features:
  age_years: { type: number, unit: a, description: Age at the index date. }
stratum: "CASE WHEN age_years < 65 THEN 'under 65' ELSE '65 and over' END"
splits: { train: 70, validation: 15, test: 15, seed: <any text> }
intended_use: <use>
limits: [<limit>]
"""

COHORT_SQL = {
    "index.sql": "SELECT patient_key, silo, min(CAST(start_at AS DATE)) AS index_date, true AS in_1, false AS out_1\n"
    "FROM encounters\nGROUP BY patient_key, silo\n",
    "features.sql": "SELECT i.patient_key, i.silo, i.index_date,\n"
    "  CAST(floor(months_between(i.index_date, p.birth_date) / 12) AS DOUBLE) AS age_years\n"
    "FROM cohort_index i JOIN patients p USING (patient_key)\n",
    "outcome.sql": "SELECT i.patient_key, i.index_date, count(e.encounter_key) > 0 AS outcome\nFROM cohort_index i\n"
    "LEFT JOIN encounters e ON e.patient_key = i.patient_key AND e.start_at > i.index_date\n"
    "  AND e.start_at <= i.index_date + INTERVAL 365 DAYS AND e.class_code = 'EMER'\nGROUP BY ALL\n",
}


def _folder(catalog: Path | None, room: str, name: str) -> Path:
    if not name.isidentifier() or name != name.lower():
        raise UsageError(f"{name!r} is not a name", "Use small letters, digits and underscores, a letter first.")
    folder = (catalog or PROJECT / "catalog") / room / name
    if folder.exists():
        raise UsageError(f"{folder} is there already", "Choose another name, or edit what is there.")
    return folder


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        out.print(f"  {path}")


def _header(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as stream:
        return stream.readline().strip().split(",")


# What a silo of a format that is converted sends, where no folder tells: a feed, its files, its key.
CONVERTED = {
    "hl7v2": ("messages", "*.hl7*", "MSH-10"),
    "ccda": ("documents", "*.xml*", "ClinicalDocument.id"),
    "cpcds": ("claims", "*.csv*", "Claim unique identifier"),
    "rif": ("claims", "*.csv*", "CLM_ID"),
    "x12": ("transactions", "*.x12*", "ST-02"),
}
FORMATS = ("csv", "fhir_ndjson", *CONVERTED)


def _converted_feeds(source: Path | None, fmt: str) -> str:
    """The one feed of a converted format: the endings that the folder's files have, else the usual one."""
    feed, pattern, key = CONVERTED[fmt]
    endings = {"*" + "".join(path.suffixes[-2:] if path.suffix == ".gz" else [path.suffix])
               for path in (source.iterdir() if source else []) if path.is_file() and path.suffix}  # fmt: skip
    files = ", ".join(f'"{ending}"' for ending in sorted(endings) or [pattern])
    return f"  {feed}:\n    files: [{files}]\n    key: [{key}]\n"


def _feeds(source: Path | None, fmt: str) -> tuple[str, dict[str, list[str]]]:
    """The feeds as YAML, and CSV columns by feed, from the files of a folder."""
    if fmt in CONVERTED:
        return _converted_feeds(source, fmt), {}
    columns: dict[str, list[str]] = {}
    lines = []
    for path in sorted(source.iterdir()) if source else []:
        feed = path.name.split(".")[0]
        if fmt == "fhir_ndjson" and feed in resource_types():
            lines.append(f"  {feed}: {{ required: [] }}")
        elif fmt == "csv" and ".csv" in path.name:
            columns[feed] = _header(path)
            first = columns[feed][0]
            lines.append(
                f"  {feed}:\n    columns: [{', '.join(columns[feed])}]\n    key: [{first}]\n    required: [{first}]"
            )
    if not lines:
        lines = [
            "  Patient: { required: [name] }" if fmt == "fhir_ndjson" else "  patients: { columns: [Id], key: [Id] }"
        ]
    return "\n".join(lines) + "\n", columns or ({"patients": ["Id"]} if fmt == "csv" else {})


@commands.command()
def silo(
    name: NameArgument,
    fmt: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "csv",
    source: Annotated[
        Path | None, typer.Option("--from", help="A folder of its files: feeds and columns are read there.")
    ] = None,
    catalog: CatalogOption = None,
) -> None:
    """Scaffold a silo: its protocol, unsigned; for CSV a first mapping; an example.

    **Example**

    `cohortlake new silo site_z --format csv --from /srv/incoming/site_z`

    `cohortlake new silo site_z_feed --format hl7v2`
    """
    if fmt not in FORMATS:
        raise UsageError(f"there is no format {fmt!r}", f"Formats: {', '.join(FORMATS)}.")
    if source is not None and not source.is_dir():
        raise UsageError(f"there is no folder {source}", "Name the folder that holds the silo's files.")
    folder = _folder(catalog, "silos", name)
    feeds, columns = _feeds(source, fmt)
    files = {"silo.yaml": SILO.format(name=name, format=fmt, feeds=feeds)}
    if columns:
        feed = next((found for found in columns if "patient" in found.lower()), next(iter(columns)))
        hint = "identifier: [{ system: urn:cohortlake:%s:mrn, value: '=%s' }]" % (name, columns[feed][0])  # noqa: UP031
        files["mappings/Patient.yaml"] = MAPPING.format(feed=feed, resource="Patient", id=columns[feed][0], hint=hint)
    _write(folder, files)
    out.print(
        "Next: fill in silo.yaml, sign it, map the feeds; then `cohortlake plan` and `cohortlake run --only "
        + name
        + "`."
    )


@commands.command()
def table(name: NameArgument, catalog: CatalogOption = None) -> None:
    """Scaffold a curated table: a ViewDefinition and its column docs.

    **Example**

    `cohortlake new table smoking_status`
    """
    _write(
        _folder(catalog, "tables", name), {"table.yaml": TABLE.format(name=name), "view.json": VIEW.format(name=name)}
    )
    out.print(f"Next: write {name}'s columns and their docs; then `cohortlake plan` and `cohortlake run --only gold`.")


@commands.command()
def cohort(name: NameArgument, catalog: CatalogOption = None) -> None:
    """Scaffold a cohort: the declaration and its three questions in SQL.

    **Example**

    `cohortlake new cohort heart_failure`
    """
    _write(_folder(catalog, "cohorts", name), {"cohort.yaml": COHORT, **COHORT_SQL})
    out.print(f"Next: write who is in and what is foretold; then `cohortlake run --only {name}`.")
