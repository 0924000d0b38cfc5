"""Hospital B's extract and its feed tell the same facts: gold has each once, and counts say which agreed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG
from cohortlake.plan import CURATE, INGEST, Step
from tests import flow
from tests.catalogs import catalog_of

EXTRACT, FEED = "site_b_csv", "site_b_hl7v2"
TABLES = ["patients", "encounters", "laboratory_results", "vital_signs"]
PID = "PID|1||pat-1^^^SITEB^MR||Luz^Ana||19610309|F"
PV1 = "PV1|1|O|||||||||||||||||enc-1|||||||||||||||||||||||||20240501090000|20240501094500"
MESSAGES = [
    # The visit of the extract, as it is there.
    ["ADT^A04^ADT_A01", PID, PV1],
    # Results of it: one that agrees, one that does not, one that the extract has not.
    [
        "ORU^R01^ORU_R01", PID,
        PV1,
        "OBR|1|o-1||LAB^Panel^L|||20240501090500|||||||||||||||20240501090500||LAB|F",
        "OBX|1|NM|8867-4^Heart rate^LN||72.5|/min|||||F|||20240501090500",
        "OBX|2|NM|8480-6^Systolic Blood Pressure^LN||99|mm[Hg]|||||F|||20240501090500",
        "OBX|3|NM|2339-0^Glucose^LN||90|mg/dL|||||F|||20240501090500",
    ],
]  # fmt: skip


def message(number: int, kind: str, *segments: str) -> str:
    head = f"MSH|^~\\&|LIS|SITEB|HUB|LAKE|2024050110000{number}||{kind}|M{number}|P|2.5.1|||AL|NE||UNICODE UTF-8"
    return "\r".join([head, *segments]) + "\r"


def ingest_and_curate(step: Step) -> bool:
    return step.stage in (INGEST, CURATE)


@pytest.fixture(scope="module", params=["the extract first", "the feed first"])
def lake(request, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("doors")
    data = folder / "data"

    def extract() -> None:
        shutil.copytree(PROJECT_CATALOG / "silos" / EXTRACT / "example/input", data / EXTRACT)

    def feed() -> None:
        (data / "site_b_hl7v2_feed").mkdir(parents=True)
        said = "\n".join(message(number, *parts) for number, parts in enumerate(MESSAGES))
        (data / "site_b_hl7v2_feed/feed.hl7").write_text(said, encoding="utf-8")

    # The other silos and tables would take most of the time, and have nothing to tell.
    catalog = catalog_of(folder / "catalog", [PROJECT_CATALOG / "silos" / silo for silo in (EXTRACT, FEED)], TABLES)

    def run() -> dict[str, Any]:
        return flow.run(folder / "lake", data, ingest_and_curate, catalog=catalog)

    first, second = (extract, feed) if request.param == "the extract first" else (feed, extract)
    first()
    run()
    second()
    return folder / "lake", run()


pytestmark = [pytest.mark.spark, pytest.mark.acceptance]


def test_counts_say_what_matched_conflicted_and_stood_alone(lake):
    doors = lake[1]["match.doors"]["facts"]["doors"][FEED]
    assert doors["Patient"] == {"matched": 1, "conflicted": 0, "alone": 0, "other_alone": 2}
    assert doors["Encounter"] == {"matched": 1, "conflicted": 0, "alone": 0, "other_alone": 2}
    assert {kind: doors["Observation"][kind] for kind in ("matched", "conflicted", "alone")} == {
        "matched": 1,
        "conflicted": 1,
        "alone": 1,
    }
    assert flow.is_balanced(lake[1])


def test_what_differs_is_named(lake):
    found = flow.query(lake[0], "phi/same_facts", "SELECT resource_type, differs FROM t WHERE len(differs) > 0")
    assert found == [("Observation", ["value.ofType(Quantity).value"])]


def test_gold_has_each_fact_once_and_silver_both(lake):
    silos = "SELECT silo, count(*) FROM t WHERE id IS NOT NULL GROUP BY ALL ORDER BY ALL"
    assert flow.query(lake[0], "phi/silver/Patient", silos) == [(EXTRACT, 3), (FEED, 1)]
    assert flow.query(lake[0], "research/gold/patients", "SELECT silo, count(*) FROM t GROUP BY ALL") == [(EXTRACT, 3)]
    assert flow.query(lake[0], "research/gold/encounters", "SELECT silo, count(*) FROM t GROUP BY ALL") == [
        (EXTRACT, 3)
    ]
    systolic = "SELECT silo, vital_sign_value FROM t WHERE vital_sign_code = '8480-6'"
    assert [(silo, float(value)) for silo, value in flow.query(lake[0], "research/gold/vital_signs", systolic)] == [
        (EXTRACT, 151.0)
    ]


def test_a_fact_that_only_the_feed_tells_is_of_the_extract_s_patient(lake):
    only = "SELECT patient_key, encounter_key FROM t WHERE laboratory_code = '2339-0'"
    [(patient, encounter)] = flow.query(lake[0], "research/gold/laboratory_results", only)
    assert flow.query(lake[0], "research/gold/patients", f"SELECT count(*) FROM t WHERE patient_key = '{patient}'") == [
        (1,)
    ]
    whose = f"SELECT patient_key FROM t WHERE encounter_key = '{encounter}'"
    assert flow.query(lake[0], "research/gold/encounters", whose) == [(patient,)]
