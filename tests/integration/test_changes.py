"""Corrections, deletes and returns: whatever the order and the batches in which they arrive, silver ends the same."""

from __future__ import annotations

import json
import os
import random
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG, load_catalog
from cohortlake.core.lake import Lake
from tests import flow, persons_lake

SILO = "site_a_fhir_r4"
EXAMPLE = PROJECT_CATALOG / "silos" / SILO / "example/input"
NOON = 1_750_000_000


def example(kind: str) -> dict[str, Any]:
    first: dict[str, Any] = json.loads((EXAMPLE / f"{kind}.ndjson").read_text("utf-8").splitlines()[0])
    return first


def version(resource: dict[str, Any], day: str, **changes: Any) -> str:
    """A resource as of a day, as a line."""
    return json.dumps({**resource, **changes, "meta": {"lastUpdated": f"{day}T00:00:00Z"}})


def bundle(day: str, *urls: str) -> str:
    """What a bulk export says is deleted, as a line."""
    entries = [{"request": {"method": "DELETE", "url": url}} for url in urls]
    meta = {"lastUpdated": f"{day}T00:00:00Z"}
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "meta": meta, "entry": entries})


PATIENT, CONDITION = example("Patient"), example("Condition")
ONE, TWO = {**PATIENT, "id": "one"}, {**PATIENT, "id": "two"}
OF_TWO = {name: value for name, value in CONDITION.items() if name != "encounter"}
OF_TWO |= {"id": "of-two", "subject": {"reference": "Patient/two"}}
DELIVERIES = {
    "Patient.1.ndjson": [version(ONE, "2025-01-01"), version(TWO, "2025-01-01")],
    "Patient.2.ndjson": [version(ONE, "2025-02-01", gender="other")],
    "deleted.3.ndjson": [bundle("2025-03-01", "Patient/one", "Patient/two", "Patient/never-seen")],
    "Patient.4.ndjson": [version(TWO, "2025-04-01", gender="unknown")],
    "Condition.5.ndjson": [version(OF_TWO, "2025-01-15")],
}
LIVE = [("of-two", None), ("two", "unknown")]


# Hospital B's records: 1 and 2 are merged and parted again, by 2 being told as its own (A31) and then by an A37 after a
# second merge; 3 and 4, alike to the letter, are linked (A24) and unlinked (A37); 5 is merged into 1 and stays so.
FEED = "site_b_hl7v2"


def message(day: int, event: str, *segments: str) -> str:
    """A message of hospital B, of a day of May 2025."""
    number = f"{event}-{day}".replace("^", "-")
    return "\r".join([f"MSH|^~\\&|ADT|SITE_B|HUB|LAKE|202505{day:02}120000||{event}|{number}|P|2.5.1", *segments])


def pid(record: int, name: str, born: str = "19700101") -> str:
    return f"PID|1||{record}^^^SITE_B^MR||{name}||{born}|F"


ONE_OF_B, TWO_OF_B, FIVE = pid(1, "Ito^Ann"), pid(2, "Berg^Zoe", "19880808"), pid(5, "Lund^Kim", "19330303")
ALIKE = [f"{pid(record, 'Okoye^Uma', '19551212')}|||||||||||999-30-6432" for record in (3, 4)]
MESSAGES = {
    "1.hl7": [message(1, "ADT^A28", who) for who in (ONE_OF_B, TWO_OF_B, FIVE, *ALIKE)],
    "2.hl7": [message(2, "ADT^A40", ONE_OF_B, "MRG|2^^^SITE_B^MR"), message(2, "ADT^A24", *ALIKE)],
    "3.hl7": [message(3, "ADT^A31", TWO_OF_B), message(3, "ADT^A37", *reversed(ALIKE))],
    "4.hl7": [
        message(4, "ADT^A40", ONE_OF_B, "MRG|2^^^SITE_B^MR"),
        message(5, "ADT^A40", ONE_OF_B, "MRG|5^^^SITE_B^MR"),
    ],
    "5.hl7": [message(6, "ADT^A37", ONE_OF_B, TWO_OF_B), message(7, "ORU^R01", FIVE, "OBR|1|P1|F1|x")],
}
# Record, whether it is active, whom it is replaced by.
PARTED = [("1", None, None), ("2", None, None), ("3", None, None), ("4", None, None), ("5", False, "1")]


def deliver(folder: Path, deliveries: dict[str, list[str]], names: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("".join(f"{line}\n" for line in deliveries[name]), encoding="utf-8")
        # Files bear the order in which they were made, not that in which they arrive.
        moment = NOON + list(deliveries).index(name)
        os.utime(folder / name, (moment, moment))


def batches(order: tuple[str, ...], rng: random.Random) -> list[tuple[str, ...]]:
    """An order of deliveries cut into batches at random."""
    cuts = sorted(rng.sample(range(1, len(order)), rng.randint(0, len(order) - 1)))
    return [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def live(lake: Path) -> list[tuple[str, str | None]]:
    found = []
    for table, gender in (("Patient", "gender"), ("Condition", "NULL")):
        if (lake / f"phi/silver/{table}").exists():
            found += flow.query(lake, f"phi/silver/{table}", f"SELECT id, {gender} FROM t")
    return sorted(found)


def run(
    tmp_path: Path,
    cut: list[tuple[str, ...]],
    silo: str = SILO,
    folder: str = SILO,
    deliveries: dict[str, list[str]] = DELIVERIES,
) -> tuple[Path, list[dict[str, Any]]]:
    lake, data = tmp_path / "lake", tmp_path / "data"
    told = []
    for names in cut:
        deliver(data / folder, deliveries, names)
        told.append(flow.run(lake, data, lambda step: step.scope == silo and step.stage == "ingest"))
        assert flow.is_balanced(told[-1]), names
    return lake, told


ORDERS = list(permutations(DELIVERIES))


@pytest.mark.spark
@pytest.mark.acceptance
@pytest.mark.parametrize("seed", [2])
def test_any_order_and_any_batches_end_in_the_same_silver(tmp_path, seed):
    rng = random.Random(seed)
    cut = batches(rng.choice(ORDERS), rng)
    lake, _ = run(tmp_path, cut)
    assert live(lake) == LIVE, cut


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_orders_end_in_the_same_silver(tmp_path, seed):
    test_any_order_and_any_batches_end_in_the_same_silver(tmp_path, seed)


def records_of_b(lake: Path) -> list[tuple[Any, ...]]:
    number = "list_filter(identifier, lambda i: i.system LIKE '%SITE_B')[1].value"
    found = flow.query(lake, "phi/silver/Patient", f"SELECT id, {number}, active, link[1].other.reference FROM t")
    numbers = {f"Patient/{row[0]}": row[1] for row in found}
    return sorted((row[1], row[2], row[3] and numbers[row[3]]) for row in found)


@pytest.mark.spark
@pytest.mark.parametrize("seed", [2])
def test_merges_and_unmerges_in_any_order_end_in_the_same_silver_and_persons(tmp_path, seed):
    rng = random.Random(seed)
    cut = batches(rng.choice(list(permutations(MESSAGES))), rng)
    lake, _ = run(tmp_path, cut, FEED, "site_b_hl7v2_feed", MESSAGES)
    assert records_of_b(lake) == PARTED, cut
    assert flow.query(lake, "phi/silver/Linkage", "SELECT active FROM t") == [(False,), (False,)]
    persons_lake.run(Lake(lake), load_catalog())
    assert sorted(len(person) for person in persons_lake.persons(Lake(lake))) == [1, 1, 1, 2]


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(100, 103))
def test_merges_and_unmerges_in_more_orders(tmp_path, seed):
    test_merges_and_unmerges_in_any_order_end_in_the_same_silver_and_persons(tmp_path, seed)


@pytest.mark.spark
def test_a_delete_is_in_the_books_and_earlier_versions_can_be_asked_for(tmp_path):
    first, second = ("Patient.1.ndjson", "Patient.2.ndjson"), ("deleted.3.ndjson",)
    lake, told = run(tmp_path, [first, second])
    assert live(lake) == []
    [book] = [book for book in told[-1][f"publish.{SILO}"]["books"] if book["table"] == "Patient (deletes)"]
    assert (book["rows_in"], book["deleted"], book["superseded"]) == (3, 2, 1)
    assert told[-1][f"standardise.{SILO}"]["facts"]["deletes"] == 3
    # A late copy of what was deleted stays deleted.
    (tmp_path / "data" / SILO / "Patient.late.ndjson").write_text(version(ONE, "2025-01-02") + "\n", encoding="utf-8")
    flow.run(lake, tmp_path / "data", lambda step: step.scope == SILO and step.stage == "ingest")
    assert live(lake) == []


@pytest.mark.spark
def test_what_is_no_bundle_of_deletes_is_quarantined(tmp_path):
    folder = tmp_path / "data" / SILO
    folder.mkdir(parents=True)
    wrong = ["{", json.dumps(ONE), bundle("2025-01-01", "Person"), bundle("2025-01-01", "Nothing/1")]
    wrong.append(bundle("2025-01-01", "Patient/one").replace("DELETE", "PUT"))
    (folder / "deleted.1.ndjson").write_text("\n".join([*wrong, bundle("2025-01-01", "Patient/one")]), encoding="utf-8")
    told = flow.run(tmp_path / "lake", tmp_path / "data", lambda step: step.scope == SILO and step.stage == "ingest")
    assert flow.is_balanced(told)
    assert flow.reasons(tmp_path / "lake") == {"standardise: deletes": 5}
    assert {row["detail"] for row in flow.held(tmp_path / "lake")} == {
        "not JSON",
        "not a Bundle",
        "the url of a DELETE request is not Type/id",
        "an entry is no DELETE request",
    }
