"""Hospital B as a live PostgreSQL database: what changes in it comes as deliveries, once, and what is gone is told."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG, load_catalog
from cohortlake.core.catalog.origin import Postgresql
from cohortlake.core.catalog.silo import Feed
from cohortlake.core.errors import SourceError
from cohortlake.run import RunFailedError
from spark_jobs.landing import Landing
from tests import flow
from tests.postgres_server import PASSWORD, PostgresServer, program, self_signed, serving

if program("initdb") is None:
    pytest.skip("no initdb: PostgreSQL's server is not installed", allow_module_level=True)

pytestmark = pytest.mark.spark
HOSPITAL_B = Path(__file__).parents[2] / "data/site_b_csv"
NOTES = Feed(columns=["id", "seen", "text"], key=["id"])


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


class Site:
    """A landing folder that is fetched into from the server's database."""

    def __init__(self, server: PostgresServer, folder: Path, spark, feeds: dict[str, Feed]) -> None:
        self.server, self.folder, self.spark, self.feeds, self.told = server, folder, spark, feeds, []

    def database(self, tables: dict, **options):
        from spark_jobs.database import Database

        declared = {
            "kind": "postgresql", "host": "127.0.0.1", "port": self.server.port, "database": self.server.database,
            "user": self.server.user, "password_variable": "TEST_DATABASE_PASSWORD", "tls": "disable",
        }  # fmt: skip
        source = Postgresql.model_validate({**declared, "tables": tables, **options})
        return Database(source, self.feeds, Landing(self.folder), lambda: self.spark, self.told.append)

    def fetch(self, tables: dict, *, full: bool = False, **options):
        return self.database(tables, **options).fetch(full=full)

    def deliveries(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if not path.name.startswith("."))

    def rows(self, delivery: str, feed: str) -> list[dict[str, str]]:
        with gzip.open(self.folder / delivery / f"{feed}.000001.csv.gz", "rt", encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def gone(self, delivery: str) -> list[dict[str, str]]:
        return self.rows(delivery, "gone")


@pytest.fixture
def site(server, spark, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_DATABASE_PASSWORD", PASSWORD)
    yield Site(server, tmp_path / "silo", spark, {"notes": NOTES, "gone": Feed(columns=["id"], deletes="notes")})
    server.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


@pytest.fixture
def notes(server, site):
    """A table of notes with a watermark, and five rows of the last days."""
    server.run(
        "CREATE TABLE notes (id int, seen timestamptz, text text, changed_at timestamptz DEFAULT now())",
        "INSERT INTO notes SELECT n, '2025-01-01 12:00+00', 'note ' || n, now() - n * interval '1 day' "
        "FROM generate_series(1, 5) n",
    )
    return {"notes": {"watermark": "changed_at"}}


def test_an_update_a_delete_and_a_new_row_of_hospital_b(site, server):
    """With a watermark (encounters), and compared whole (patients, conditions)."""
    silo = load_catalog().silos["site_b_csv"]
    site.feeds = {**silo.feeds, "gone": Feed(columns=["Id"], deletes="encounters")}
    types = {
        "patients": {"BIRTHDATE": "date", "DEATHDATE": "date", "INCOME": "int"},
        "encounters": {"START": "timestamptz", "STOP": "timestamptz", "BASE_ENCOUNTER_COST": "numeric"},
        "conditions": {"START": "date", "STOP": "date"},
    }
    for table, columns in types.items():
        server.load(HOSPITAL_B / f"{table}.csv.gz", table, columns)
    server.run("ALTER TABLE encounters ADD changed_at timestamptz DEFAULT now()")
    tables = {"patients": {}, "conditions": {}, "encounters": {"watermark": "changed_at"}}

    first = site.fetch(tables)
    assert first.rows == {"patients": 136, "conditions": 2273, "encounters": 3534}
    for table in tables:
        with gzip.open(HOSPITAL_B / f"{table}.csv.gz", "rt", newline="") as stream:
            source = [tuple(row.items()) for row in csv.DictReader(stream)]
        assert Counter(tuple(row.items()) for row in site.rows(first.delivery, table)) == Counter(source)
    assert site.fetch(tables).delivery is None

    patient, encounter = (server.run(f'SELECT min("Id") FROM {table}')[0][0] for table in ("patients", "encounters"))
    other = server.run('SELECT max("Id") FROM encounters')[0][0]
    server.run(
        f"UPDATE patients SET \"ADDRESS\" = 'new' WHERE \"Id\" = '{patient}'",
        f"UPDATE encounters SET \"DESCRIPTION\" = 'new', changed_at = now() WHERE \"Id\" = '{encounter}'",
        f"DELETE FROM encounters WHERE \"Id\" = '{other}'",
        "INSERT INTO patients (\"Id\", \"BIRTHDATE\") VALUES ('p-new', '2000-02-29')",
    )
    second = site.fetch(tables)
    assert (second.rows, second.deleted) == ({"patients": 2, "encounters": 1}, {"gone": 1})
    assert {row["Id"]: row["ADDRESS"] for row in site.rows(second.delivery, "patients")} == {
        patient: "new",
        "p-new": "",
    }
    assert [row["DESCRIPTION"] for row in site.rows(second.delivery, "encounters")] == ["new"]
    assert site.gone(second.delivery) == [{"Id": other}]
    assert site.fetch(tables).delivery is None


def test_values_are_written_exactly(site, server):
    nasty = ["", " lead and trail ", 'say "hi", then\nnext\r\nline', "ünï ✓ 𝄞", "NULL", "\\N", "'", "a,b", None]
    site.feeds = {
        "values": Feed(columns=["id", "instant", "local", "day", "flag", "amount", "real", "text"], key=["id"])
    }
    server.run(
        'CREATE TABLE "values" (id int, instant timestamptz, local timestamp, day date, flag boolean, amount numeric, '
        '"real" float8, text text)'
    )
    connection = server.connect()
    with connection.cursor() as cursor:
        times = ["2026-01-01 01:02:03.45+05:30", "infinity", "0044-03-15 12:00:00+00 BC", "2026-07-01 00:00:00+00"]
        for number, text in enumerate(nasty):
            values = (number, times[number % 4], "2026-07-01 12:00", "2024-02-29", True, "1.10", 0.1, text)
            cursor.execute('INSERT INTO "values" VALUES (%s, %s, %s, %s, %s, %s, %s, %s)', values)
    connection.close()
    rows = site.rows(site.fetch({"values": {}}).delivery, "values")
    assert [row["text"] for row in sorted(rows, key=lambda row: row["id"])] == [text or "" for text in nasty]
    first = next(row for row in rows if row["id"] == "0")
    assert {name: first[name] for name in ("instant", "local", "day", "flag", "amount", "real")} == {
        "instant": "2025-12-31T19:32:03.45Z", "local": "2026-07-01T12:00:00", "day": "2024-02-29", "flag": "true",
        "amount": "1.10", "real": "0.1",
    }  # fmt: skip
    assert [row["instant"] for row in sorted(rows, key=lambda row: row["id"])[1:4]] == [
        "infinity", "0044-03-15 12:00:00+00 BC", "2026-07-01T00:00:00Z",
    ]  # fmt: skip
    zoned = site.rows(site.fetch({"values": {}}, zone="America/Chicago").delivery, "values")
    assert {row["local"] for row in zoned} == {"2026-07-01T17:00:00Z"}


def test_only_what_may_have_changed_is_read(site, server, notes):
    site.fetch(notes)
    # A change that does not move the watermark is not seen, until the table is compared whole.
    server.run("UPDATE notes SET text = 'unmarked' WHERE id = 3")
    server.run("UPDATE notes SET text = 'b', changed_at = now() WHERE id = 2")
    found = site.fetch(notes)
    assert [row["id"] for row in site.rows(found.delivery, "notes")] == ["2"]
    found = site.fetch(notes, compare_days=0)
    assert [row["text"] for row in site.rows(found.delivery, "notes")] == ["unmarked"]


def test_ties_late_commits_and_rows_without_a_watermark(site, server, notes):
    server.run("UPDATE notes SET changed_at = now()")
    site.fetch(notes)
    late = server.connect()
    late.autocommit = False
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO notes VALUES (6, now(), 'late')")
        server.run(
            "INSERT INTO notes VALUES (7, now(), 'soon')", "INSERT INTO notes SELECT 8, now(), 'tie', max(changed_at) "
            "FROM notes", "INSERT INTO notes VALUES (9, now(), 'none', NULL)",
        )  # fmt: skip
        assert {row["id"] for row in site.rows(site.fetch(notes).delivery, "notes")} == {"7", "8", "9"}
    late.commit()
    late.close()
    assert {row["id"] for row in site.rows(site.fetch(notes).delivery, "notes")} == {"6"}
    assert site.fetch(notes).delivery is None


def test_a_new_row_with_an_old_watermark_is_found(site, server, notes):
    """Loaded from elsewhere, or committed later than the overlap: its key tells."""
    site.fetch(notes)
    server.run("INSERT INTO notes VALUES (6, now(), 'old', now() - interval '3 years')")
    assert [row["id"] for row in site.rows(site.fetch(notes, overlap_minutes=0).delivery, "notes")] == ["6"]
    assert any("1 rows are new though their watermark is old" in line for line in site.told)


def test_a_watermark_of_next_year_hides_nothing(site, server, notes):
    server.run("UPDATE notes SET changed_at = now() + interval '1 year' WHERE id = 1")
    site.fetch(notes)
    server.run("UPDATE notes SET text = 'b', changed_at = now() WHERE id = 2")
    assert [row["id"] for row in site.rows(site.fetch(notes).delivery, "notes")] == ["2"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("bigint", "(SELECT max(changed_at) + 1 FROM notes)"), ("date", "current_date"), ("timestamp", "localtimestamp")],
)
def test_watermarks_of_other_types(site, server, notes, kind, value):
    using = {"bigint": "id", "date": "current_date - 400", "timestamp": "localtimestamp - interval '1 year'"}[kind]
    server.run(
        "ALTER TABLE notes ALTER changed_at DROP DEFAULT",
        f"ALTER TABLE notes ALTER changed_at TYPE {kind} USING {using}",
    )
    site.fetch(notes, zone="UTC")
    server.run(f"UPDATE notes SET text = 'b', changed_at = {value} WHERE id = 2")
    assert [row["id"] for row in site.rows(site.fetch(notes, zone="UTC").delivery, "notes")] == ["2"]


def test_a_watermark_without_a_zone_needs_one_declared(site, server, notes):
    server.run("ALTER TABLE notes ALTER changed_at TYPE timestamp")
    with pytest.raises(SourceError, match="has no zone: declare source"):
        site.fetch(notes)


def test_keys_that_stand_in_several_rows_are_compared_as_one(site, server, notes):
    server.run("INSERT INTO notes VALUES (1, now(), 'twin')")
    site.fetch(notes)
    assert site.fetch(notes).delivery is None
    server.run("DELETE FROM notes WHERE text = 'twin'")
    found = site.fetch(notes)
    assert ([row["text"] for row in site.rows(found.delivery, "notes")], found.deleted) == (["note 1"], {})


def test_a_view_and_another_schema_and_names_of_another_case(site, server, notes):
    server.run(
        "CREATE SCHEMA clinic", 'CREATE VIEW clinic."Aufnahmen" AS SELECT id AS "ID", seen, text, 1 AS x FROM notes'
    )
    found = site.fetch({"notes": {"table": "clinic.Aufnahmen"}})
    assert found.rows == {"notes": 5}
    assert json.loads((site.folder / found.delivery / "_delivery.json").read_text())["columns_not_read"] == {
        "notes": ["x"]
    }


def test_a_large_table_is_read_by_several_connections(site, server, notes, monkeypatch):
    from spark_jobs import database_read

    monkeypatch.setattr(database_read, "SMALL_PAGES", 1)
    server.run(
        "INSERT INTO notes SELECT n, now(), repeat('x', 200) FROM generate_series(6, 3000) n", "VACUUM ANALYZE notes",
        "DELETE FROM notes WHERE id % 7 = 0", "INSERT INTO notes SELECT n, now() FROM generate_series(3001, 3100) n",
    )  # fmt: skip
    rows = site.rows(site.fetch(notes, connections=3).delivery, "notes")
    assert sorted(int(row["id"]) for row in rows) == sorted(row[0] for row in server.run("SELECT id FROM notes"))


def test_everything_again_on_demand(site, server, notes):
    site.fetch(notes)
    server.run("DELETE FROM notes WHERE id = 1")
    found = site.fetch(notes, full=True)
    assert (found.rows, found.deleted) == ({"notes": 4}, {"gone": 1})


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("ALTER TABLE notes DROP COLUMN text", "table public.notes has no column text"),
        ("ALTER TABLE notes RENAME text TO words", "no column text; it has, besides what is read, words"),
        ("ALTER TABLE notes DROP COLUMN changed_at", r"no column changed_at \(the watermark\)"),
        ("ALTER TABLE notes ALTER changed_at TYPE text", "is of type text: a time, a date or a number is needed"),
        ("DROP TABLE notes", "there is no table public.notes"),
        ("DELETE FROM notes", "5 of 5 rows of public.notes are gone, more than 50 percent"),
    ],
)
def test_a_table_that_changed_its_shape_is_told_and_nothing_is_taken(site, server, notes, harm, said):
    site.fetch(notes)
    before = (site.deliveries(), Landing(site.folder).read_state())
    server.run(harm)
    with pytest.raises(SourceError, match=said):
        site.fetch(notes)
    assert (site.deliveries(), Landing(site.folder).read_state()) == before


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        ({"port": 1}, "nothing answers there", "Is the server up"),
        ({"user": "stranger"}, "the password is wrong", "TEST_DATABASE_PASSWORD"),
        ({"database": "nowhere"}, "there is no such database", "source.database"),
        ({"host": "no.such.host.invalid", "tls": "require"}, "the host is not known", "source.host"),
        ({"tls": "require"}, "it speaks no TLS", "TLS turned on"),
        ({"password_variable": "NOT_SET_AT_ALL"}, "NOT_SET_AT_ALL is not set", "password of reader"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_told(site, notes, change, said, hint):
    with pytest.raises(SourceError, match=said) as caught:
        site.fetch(notes, **change)
    assert hint in caught.value.hint
    assert PASSWORD not in str(caught.value) + caught.value.hint


def test_over_tls_the_certificate_is_looked_at(site, server, notes, tmp_path):
    """By both drivers: the one that asks and the one that reads."""
    certificate = server.speak_tls()
    try:
        assert site.fetch(notes, tls="verify-full", ca_file=str(certificate)).rows == {"notes": 5}
        other = tmp_path / "other.pem"
        other.write_bytes(self_signed()[1])
        with pytest.raises(SourceError, match="its certificate is not trusted") as caught:
            site.fetch(notes, tls="verify-full", ca_file=str(other))
        assert "source.ca_file" in caught.value.hint
    finally:
        server.run("ALTER SYSTEM RESET ssl", "SELECT pg_reload_conf()")


def test_a_table_that_may_not_be_read_is_told(site, server, notes, monkeypatch):
    server.run("DROP ROLE IF EXISTS guest", f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    server.run("GRANT SELECT (id) ON notes TO guest")
    with pytest.raises(SourceError, match=r"public.notes has no column seen|may not read public.notes"):
        site.fetch(notes, user="guest")
    server.run("DROP OWNED BY guest", "DROP ROLE guest")


def test_killed_anywhere_it_finds_the_same_again(site, server, notes, monkeypatch):
    site.fetch(notes)
    server.run("DELETE FROM notes WHERE id = 1", "UPDATE notes SET text = 'b', changed_at = now() WHERE id = 2")
    for owner, name in ((Landing, "write_state"), (Landing, "publish")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                site.fetch(notes)
        assert len(site.deliveries()) == 1
    found = site.fetch(notes)
    assert (found.rows, found.deleted) == ({"notes": 1}, {"gone": 1})


def test_killed_once_the_delivery_is_out_it_is_not_delivered_twice(site, server, notes, monkeypatch):
    from spark_jobs.database import Database

    with monkeypatch.context() as patch:
        patch.setattr(Database, "_adopt", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            site.fetch(notes)
    assert len(site.deliveries()) == 1
    assert site.fetch(notes).delivery is None


def test_the_server_is_stopped_while_it_is_read(site, server, notes, monkeypatch):
    from spark_jobs import database

    site.fetch(notes)
    server.run("UPDATE notes SET text = 'b', changed_at = now() WHERE id = 2")
    right = database.read

    def read(*arguments, **options) -> None:
        try:
            connection = server.connect()
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                               "WHERE application_name = 'cohortlake'")  # fmt: skip
            connection.close()
        finally:
            right(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(database, "read", read)
        with pytest.raises(SourceError, match=r"could not be read|broke"):
            site.fetch(notes)
    assert len(site.deliveries()) == 1
    assert site.fetch(notes).rows == {"notes": 1}


def test_what_changes_back_is_another_file(site, server, notes):
    """Land knows files by their content, and lands none twice."""
    site.fetch(notes)
    for text in ("b", "note 1", "b", "note 1"):
        server.run(f"UPDATE notes SET text = '{text}', changed_at = now() WHERE id = 1")
        assert site.fetch(notes).rows == {"notes": 1}
    for action in ("DELETE FROM notes WHERE id = 5", "INSERT INTO notes VALUES (5, now(), 'back')") * 2:
        server.run(action)
        assert site.fetch(notes).delivery
    files = [path for delivery in site.deliveries() for path in delivery.glob("*.csv.gz")]
    assert len({path.read_bytes() for path in files}) == len(files) == 9
    times = [path.stat().st_mtime for delivery in site.deliveries() for path in delivery.glob("notes*.csv.gz")]
    assert times == sorted(set(times))


@pytest.fixture
def catalog(server, tmp_path) -> Path:
    """Hospital B in the server's database, and two curated tables."""
    folder = Path(shutil.copytree(PROJECT_CATALOG, tmp_path / "catalog"))
    shutil.rmtree(folder / "cohorts")
    for table in (folder / "tables").iterdir():
        if table.name not in ("patients", "encounters"):
            shutil.rmtree(table)
    path = folder / "silos/site_b_csv/silo.yaml"
    source = f"""
  deleted_encounters: {{ columns: [Id], deletes: encounters }}
source:
  kind: postgresql
  host: 127.0.0.1
  port: {server.port}
  database: {server.database}
  user: {server.user}
  password_variable: TEST_DATABASE_PASSWORD
  tls: disable
  tables: {{ patients: {{}}, encounters: {{}}, organizations: {{}}, providers: {{}}, payers: {{}} }}
"""
    path.write_text(path.read_text(encoding="utf-8").rstrip() + source, encoding="utf-8")
    return folder


@pytest.mark.acceptance
def test_changes_reach_gold_and_a_server_that_is_down_leaves_the_lake(site, server, catalog, tmp_path):
    lake, data = tmp_path / "lake", tmp_path / "data"
    for table in ("patients", "encounters", "organizations", "providers", "payers"):
        server.load(HOSPITAL_B / f"{table}.csv.gz", table, {})

    def run() -> dict:
        return flow.run(lake, data, only=lambda step: step.scope in ("site_b_csv", "gold"), catalog=catalog)

    def encounters() -> dict[str, str]:
        return dict(flow.query(lake, "phi/silver/Encounter", "SELECT id, status FROM t"))

    def gold() -> Counter[str]:
        return Counter(
            dict(flow.query(lake, "research/gold/encounters", "SELECT status, count(*) FROM t GROUP BY ALL"))
        )

    first = run()
    assert first["land.site_b_csv"]["facts"]["fetched"]["rows"]["encounters"] == len(encounters()) == 3534

    gone, changed = (row[0] for row in server.run('SELECT "Id" FROM encounters ORDER BY "Id" LIMIT 2'))
    server.run(
        f"DELETE FROM encounters WHERE \"Id\" = '{gone}'",
        f'UPDATE encounters SET "STOP" = NULL WHERE "Id" = \'{changed}\'',
        f"CREATE TABLE one AS SELECT * FROM encounters WHERE \"Id\" = '{changed}'",
        "UPDATE one SET \"Id\" = 'new'",
        "INSERT INTO encounters SELECT * FROM one",
    )
    before, counted = encounters(), gold()
    assert flow.is_balanced(run())
    after = encounters()
    assert (before.keys() - after.keys(), after.keys() - before.keys()) == ({gone}, {"new"})
    assert (before[changed], after[changed], after["new"]) == ("finished", "in-progress", "in-progress")

    assert gold() - counted == {"in-progress": 2}
    assert counted - gold() == {"finished": 2}

    content = flow.content(lake) | flow.content(lake, "research/gold")
    server.control("stop", "-m", "immediate")
    try:
        with pytest.raises(RunFailedError, match="nothing answers there"):
            run()
    finally:
        server.start()
    assert flow.content(lake) | flow.content(lake, "research/gold") == content
