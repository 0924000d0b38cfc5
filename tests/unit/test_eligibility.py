"""Who is left out, and which features are null, where a silo cannot tell what a cohort needs: small planted golds."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from cohortlake.core.catalog import Catalog, load_catalog
from cohortlake.core.catalog.cohort import Feature
from cohortlake.core.catalog.completeness import Need
from cohortlake.core.lake import Lake
from spark_jobs import delta
from spark_jobs.eligibility import Eligibility, row_needs, withhold

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ENCOUNTERS = [(name, pa.string()) for name in ("patient_key", "silo", "class_code", "class_system")]
ORDERS = [("patient_key", pa.string()), ("silo", pa.string()), ("ordered_at", pa.timestamp("us", tz="UTC"))]
CLASS, ORDERED = Need(column="encounters.class_code"), Need(column="medications.ordered_at")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


class Gold:
    """A gold of a few tables, and candidates of two hospitals, `a` and `b`."""

    def __init__(self, root: Path, catalog: Catalog) -> None:
        self.lake, self.catalog = Lake(root), catalog
        self.versions: dict[str, int] = {}

    def add(self, table: str, fields: list, *rows: tuple) -> Gold:
        schema = pa.schema(fields)
        data = pa.table(
            [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), schema.types, strict=True)],
            schema=schema,
        )
        folder = self.lake.gold(table)
        delta.create(folder, schema, privacy=dict.fromkeys(schema.names, "sensitive"))
        self.versions[table] = delta.commit(folder, [delta.write_part(folder, data, {})])
        return self

    def lacking(self, need: Need, **homes: str) -> set[str]:
        keys, silos = list(homes), list(homes.values())
        candidates = pa.table({"patient_key": keys, "silo": silos})
        return set(Eligibility(self.lake, self.catalog, self.versions, candidates).lacking(need))


@pytest.fixture
def gold(tmp_path, catalog) -> Gold:
    return Gold(tmp_path, catalog)


def test_a_silo_without_classes_cannot_tell_of_its_patients(gold):
    gold.add("encounters", ENCOUNTERS, ("p", "a", "EMER", ACT_CODE), ("q", "b", None, None))
    assert gold.lacking(CLASS, p="a", q="b") == {"q"}


def test_a_class_in_another_system_is_not_known(gold):
    gold.add("encounters", ENCOUNTERS, ("p", "a", "EMER", ACT_CODE), ("q", "b", "3", "urn:oid:1.2.3"))
    assert gold.lacking(CLASS, p="a", q="b") == {"q"}


def test_no_row_of_a_patient_is_known_to_be_none_where_its_silo_tells(gold):
    gold.add("encounters", ENCOUNTERS, ("p", "a", "EMER", ACT_CODE))
    assert gold.lacking(CLASS, p="a", never="a") == set()


def test_a_silo_without_any_row_of_the_table_cannot_tell(gold):
    gold.add("encounters", ENCOUNTERS, ("p", "a", "EMER", ACT_CODE))
    assert gold.lacking(CLASS, p="a", payer="b") == {"payer"}


def test_a_table_that_is_not_there_tells_of_nobody(gold):
    assert gold.lacking(CLASS, p="a") == {"p"}


def test_orders_by_the_other_door_of_a_hospital_are_known(gold):
    """Hospital b has patients only; its orders come by b_feed, with times."""
    gold.add("medications", ORDERS, ("p", "b_feed", 1), ("other", "a", 1))
    assert gold.lacking(ORDERED, p="b", none="b", other="a") == set()


def test_a_hollow_door_is_not_hidden_by_a_whole_one(gold):
    """99 of a hospital's 100 orders came by its whole door; whose own came by the hollow one cannot be told of."""
    whole = [(f"p{n}", "b", 1) for n in range(99)]
    gold.add("medications", ORDERS, *whole, ("q", "b_feed", None))
    assert gold.lacking(ORDERED, q="b", p0="b", none="b") == {"q"}


def test_who_has_rows_by_both_doors_is_judged_by_their_share(gold):
    rows = [("p", "b", 1)] * 9 + [("p", "b_feed", None)] + [("q", "b", 1)] + [("q", "b_feed", None)]
    gold.add("medications", ORDERS, *rows)
    assert gold.lacking(ORDERED, p="b", q="b") == {"q"}


@pytest.mark.parametrize(
    ("known", "floor", "lacks"), [(40, 90, True), (89, 90, True), (90, 90, False), (40, 40, False)]
)
def test_partial_lack_is_judged_by_the_floor(gold, known, floor, lacks):
    gold.add("medications", ORDERS, *[(f"p{n}", "a", 1 if n < known else None) for n in range(100)])
    need = Need(column=ORDERED.column, floor_percent=floor)
    assert gold.lacking(need, p0="a") == ({"p0"} if lacks else set())


def test_one_of_several_columns_is_enough(gold):
    fields = [
        ("patient_key", pa.string()),
        ("silo", pa.string()),
        ("onset_date", pa.date32()),
        ("recorded_date", pa.date32()),
    ]
    gold.add("conditions", fields, ("p", "a", 1, None), ("q", "b", None, 1), ("r", "c", None, None))
    need = Need(column="conditions.recorded_date | conditions.onset_date")
    assert gold.lacking(need, p="a", q="b", r="c") == {"r"}


def test_a_feature_that_cannot_be_known_is_null_whatever_the_sql_made_of_it(gold, catalog):
    gold.add("medications", ORDERS, ("p", "a", 1), ("q", "b", None))
    feature = Feature(type="boolean", description="Insulin.", needs=[ORDERED])
    number = Feature(type="number", description="Orders.", needs=[ORDERED])
    cohort = catalog.cohorts["type2_diabetes"].model_copy(
        update={"features": {"has_insulin": feature, "orders": number}, "stratum": "CASE WHEN has_insulin THEN 1 END"}
    )
    orders, strata = pa.array([0, 0], pa.int64()), ["x", "x"]
    rows = pa.table({"patient_key": ["p", "q"], "has_insulin": [False, False], "orders": orders, "stratum": strata})
    candidates = pa.table({"patient_key": ["p", "q"], "silo": ["a", "b"]})
    found, reasons = withhold(rows, cohort, Eligibility(gold.lake, catalog, gold.versions, candidates))
    assert found["has_insulin"].to_pylist() == [False, None]
    assert found["orders"].to_pylist() == [0, None]
    assert found["stratum"].to_pylist() == ["x", "unknown"]
    assert found.schema == rows.schema
    assert reasons["has_insulin"] == {"b cannot tell medications.ordered_at": 1}


def test_the_bundled_cohort_says_what_it_needs(catalog):
    needs = {need.column for need in row_needs(catalog.cohorts["type2_diabetes"])}
    assert {"encounters.class_code", "encounters.started_at"} <= needs
    features = catalog.cohorts["type2_diabetes"].features
    assert [name for name, feature in features.items() if feature.type == "boolean" and not feature.needs] == []
