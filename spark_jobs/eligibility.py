"""What a patient's records can tell: who lacks a column of gold that an outcome, a criterion or a feature needs.

It is counted over the pinned gold by DuckDB, and applied after the cohort's SQL, so that no `coalesce(x, 0)` in it can
make a nought of what cannot be known.

A silo *tells* a column if it is known in at least the need's floor of the silo's rows of that table. A patient's
records may come by several silos of one hospital; each is a door. So:

* who has rows in the table can be told of where at least the floor of them came by doors that tell the column;
* who has none can be told of where a door of the hospital tells it, a door being a silo by which rows of patients of
  the same silo came. Where no such row came at all, nothing is known of the table: it is not that nothing is in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog import Catalog, Cohort
from cohortlake.core.catalog.completeness import Need
from cohortlake.core.completeness.lineage import coded
from cohortlake.core.completeness.profile import gold_column
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal

CANDIDATES = "candidates"


def row_needs(cohort: Cohort) -> list[Need]:
    """What a row of the cohort cannot do without: the needs of criteria and outcome, each column once."""
    needs: dict[str, Need] = {}
    for need in (*cohort.criteria_needs, *cohort.outcome_needs):
        before = needs.get(need.column)
        if before is None or before.floor_percent < need.floor_percent:
            needs[need.column] = need
    return list(needs.values())


def every_need(cohort: Cohort) -> list[Need]:
    """Every need of a cohort."""
    return [*row_needs(cohort), *(need for feature in cohort.features.values() for need in feature.needs)]


class Eligibility:
    """Which of the candidates cannot be told what, by the pinned versions of gold."""

    def __init__(self, lake: Lake, catalog: Catalog, versions: Mapping[str, int], candidates: pa.Table) -> None:
        self._lake, self._catalog, self._versions = lake, catalog, versions
        self._homes = dict(zip(candidates["patient_key"].to_pylist(), candidates["silo"].to_pylist(), strict=True))
        self._found: dict[Need, frozenset[str]] = {}
        self._duckdb = delta_connection()
        keys, homes = pa.array(list(self._homes), pa.string()), pa.array(list(self._homes.values()), pa.string())
        self._duckdb.register(CANDIDATES, pa.table({"patient_key": keys, "home": homes}))

    def lacking(self, need: Need) -> frozenset[str]:
        """The candidates' keys of whom what is needed cannot be told."""
        if need not in self._found:
            self._found[need] = frozenset(self._lacking(need))
        return self._found[need]

    def reason(self, patient_key: str, need: Need) -> str:
        """Why it cannot be told of a patient: which silo cannot tell what."""
        return f"{self._homes[patient_key]} cannot tell {need.column}"

    def _lacking(self, need: Need) -> Iterable[str]:
        if need.table not in self._versions:
            return self._homes
        scan = f"delta_scan({literal(self._lake.gold(need.table))}, version = {int(self._versions[need.table])})"
        found = self._duckdb.sql(f"SELECT * FROM {scan} LIMIT 0")  # noqa: S608
        kinds = dict(zip(found.columns, found.types, strict=True))
        known = self._known(need, kinds)
        sql = f"SELECT silo, 100 * count(*) FILTER ({known}) / count(*) FROM {scan} GROUP BY silo"  # noqa: S608
        telling = {silo for silo, share in self._duckdb.execute(sql).fetchall() if share >= need.floor_percent}
        if "patient_key" not in kinds:
            return (key for key, home in self._homes.items() if home not in telling)
        listed = ", ".join(literal(silo) for silo in sorted(telling)) or "NULL"
        told = f"count(*) FILTER (r.silo IN ({listed}))"
        joined = f"{CANDIDATES} AS c LEFT JOIN {scan} AS r ON r.patient_key = c.patient_key"
        sql = f"SELECT c.patient_key, c.home, count(r.silo), {told} FROM {joined} GROUP BY ALL"  # noqa: S608
        rows = self._duckdb.execute(sql).fetchall()
        homes_told = telling | {home for _, home, _, told in rows if told}
        return (
            key
            for key, home, own, told in rows
            if (100 * told < need.floor_percent * own if own else home not in homes_told)
        )

    def _known(self, need: Need, kinds: Mapping[str, Any]) -> str:
        """Whether a row has one of the needed columns, of a code in its system, in SQL."""
        columns = [gold_column(name, kinds, coded(self._catalog, need.table, name)) for name in need.names]
        return "(" + " OR ".join(column.mapped or column.present for column in columns) + ")"


def withhold(rows: pa.Table, cohort: Cohort, eligibility: Eligibility) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """The rows with null for each feature that cannot be known, and by feature how many rows that are, by reason.

    A stratum that is made of such a feature is unknown.
    """
    keys: list[str] = rows["patient_key"].to_pylist()
    reasons: dict[str, dict[str, int]] = {}
    words = set(re.findall(r"\w+", cohort.stratum))
    for name, feature in cohort.features.items():
        why = [
            next((eligibility.reason(key, need) for need in feature.needs if key in eligibility.lacking(need)), None)
            for key in keys
        ]
        if not any(why):
            continue
        reasons[name] = dict(sorted(Counter(one for one in why if one).items()))
        mask = pa.array([one is not None for one in why])
        rows = _put(rows, name, mask, None)
        if name in words:
            rows = _put(rows, "stratum", mask, "unknown")
    return rows, reasons


def _put(rows: pa.Table, name: str, mask: pa.Array, value: str | None) -> pa.Table:
    at = rows.schema.get_field_index(name)
    kind = rows.schema.field(at).type
    return rows.set_column(at, rows.schema.field(at), pc.if_else(mask, pa.scalar(value, kind), rows[name]))
