"""A silo's `source`: what is wrong in it is told where it stands, with what that kind of source allows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from cohortlake.core.catalog import PROJECT_CATALOG, load_catalog, source
from cohortlake.core.catalog.origin import BulkFhir, Postgresql
from cohortlake.core.errors import CatalogError

A, B = "site_a_fhir_r4", "site_b_csv"
SERVER = """
source:
  kind: bulk_fhir
  url: https://ehr.example.org/fhir/
  client:
    id: us
    key_id: k1
    key_file_variable: KEY_FILE
"""
DATABASE = """
source:
  kind: postgresql
  host: db.example.org
  database: ehr
  user: reader
  password_variable: PASSWORD
  tables:
    patients: { watermark: changed_at }
"""


@pytest.fixture
def catalog(tmp_path) -> Path:
    return Path(shutil.copytree(PROJECT_CATALOG, tmp_path / "catalog"))


def declare(catalog: Path, silo: str, text: str) -> Path:
    path = catalog / "silos" / silo / "silo.yaml"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
    return path


def test_the_kind_says_which(catalog):
    declare(catalog, A, SERVER)
    declare(catalog, B, DATABASE)
    silos = load_catalog(catalog).silos
    server, database = silos[A].source, silos[B].source
    assert isinstance(server, BulkFhir)
    assert server.url == "https://ehr.example.org/fhir"
    assert isinstance(database, Postgresql)
    assert (database.tls, database.tables["patients"].watermark) == ("verify-full", "changed_at")


@pytest.mark.parametrize(
    ("silo", "text", "old", "new", "said"),
    [
        (A, SERVER, "  url: https", "  url: http", "source.url: value error, must begin with https://"),
        (
            A,
            SERVER,
            "    key_id: k1",
            "    kid: k1",
            "source.client.kid is not known here; allowed are id, key_file_var",
        ),
        (A, SERVER, "  kind: bulk_fhir", "  kind: fax", "source: input tag 'fax'"),
        (A, SERVER, "    id: us\n", "", "source.client.id is missing"),
        (B, DATABASE, "  user: reader\n", "", "source.user is missing"),
        (
            B,
            DATABASE,
            "  database: ehr",
            "  databse: ehr",
            "source.databse is not known here; allowed are ca_file, comp",
        ),
        (
            B,
            DATABASE,
            "    patients: { watermark",
            "    patients: { mark",
            "source.tables.patients.mark is not known her",
        ),
        (
            B,
            DATABASE,
            "  user: reader",
            "  user: reader\n  tls: disable",
            "source: value error, tls may be disabled on lo",
        ),
        (
            B,
            DATABASE,
            "  user: reader",
            "  user: reader\n  zone: CST6",
            "source.zone: value error, must be an IANA time",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(catalog, silo, text, old, new, said):
    assert old in text
    path = declare(catalog, silo, text.replace(old, new))
    with pytest.raises(CatalogError) as raised:
        load_catalog(catalog)
    problem = next(line for line in str(raised.value).split("\n") if said in line)
    place, number, _ = problem.split(":", 2)
    assert place == str(path)
    lines = path.read_text(encoding="utf-8").split("\n")
    field = said.split(" ")[0].rstrip(":").rsplit(".", 1)[-1]
    around = said.split(" ")[0].rstrip(":").rsplit(".", 2)[-2] if "missing" in said else field
    assert f"{around}:" in lines[int(number) - 1]


@pytest.mark.parametrize(
    ("silo", "text", "said"),
    [
        (B, SERVER, "format must be fhir_ndjson"),
        (A, DATABASE, "format must be csv"),
        (
            B,
            DATABASE.replace("patients", "patient"),
            "source.tables.patient is no feed; there are patients, encounters",
        ),
    ],
)
def test_a_source_gives_what_the_feeds_take(catalog, silo, text, said):
    declare(catalog, silo, text)
    with pytest.raises(CatalogError, match=said):
        load_catalog(catalog)


@pytest.mark.parametrize("folder", ["silos/site_b_csv", "formats/ccda/maps", "tables"])
def test_either_parser_reads_the_same_content_lines_and_faults(folder, tmp_path, monkeypatch):
    paths = sorted((PROJECT_CATALOG / folder).rglob("*.yaml"))
    wrong = {"twice.yaml": "a: 1\nb:\n  c: 1\n  c: 2\n", "open.yaml": "a:\n  - [1, 2\nb: 3\n", "none.yaml": "# no\n"}
    for name, text in wrong.items():
        (tmp_path / name).write_text(text)

    def read() -> list[str]:
        found = [repr(source.read_yaml(path)) for path in paths]
        for name in wrong:
            with pytest.raises(CatalogError) as raised:
                source.read_yaml(tmp_path / name)
            # What is wrong is each parser's own words; where it is, is not.
            found.append(str(raised.value).split(": not YAML")[0])
        return found

    assert len(paths) > 5
    compiled = read()
    monkeypatch.setattr(source, "LOADER", yaml.SafeLoader)
    assert read() == compiled
