"""Records to scored pairs, with Splink on DuckDB. Tables in, tables out; the model is the catalog's.

Splink 5: https://moj-analytical-services.github.io/splink. Every m and u is declared, so nothing is trained, and the
same records give the same pairs on any machine.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from cohortlake.core.persons.declared import Blocking, PersonModel
from cohortlake.core.persons.weights import estimated_prior, probability_of, weight_of
from spark_jobs.link_sql import blocking, comparison, evidence_sql, told_apart

EVERY_PAIR = Blocking(when="1 = 1")
EVIDENCE = pa.struct([("comparison", pa.string()), ("level", pa.string()), ("weight", pa.float64())])
# Weights in bits; `evidence` has a level a comparison.
PAIRS = pa.schema(
    {
        "left": pa.int64(),
        "right": pa.int64(),
        "weight": pa.float64(),
        "probability": pa.float64(),
        "rule": pa.string(),
        "hold": pa.string(),
        "outweighs": pa.bool_(),
        "evidence": pa.list_(EVIDENCE),
    }
)


@contextmanager
def connection(memory: str = "", within: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB for one linkage; what does not fit into memory goes to a folder (`within` one) that is removed."""
    with tempfile.TemporaryDirectory(prefix="link-", dir=within) as spill:
        config = {"temp_directory": spill, "autoinstall_known_extensions": "false"}
        with duckdb.connect(config=config | ({"memory_limit": memory} if memory else {})) as opened:
            yield opened


class Scorer:
    """Scores pairs of `rows` (demographics.SCHEMA); a record's number is its row's, from 0."""

    def __init__(self, con: duckdb.DuckDBPyConnection, rows: pa.Table, model: PersonModel) -> None:
        self.con, self.model, self.count, self.prior, self.households = con, model, rows.num_rows, 0.0, 0
        con.register("given", rows.append_column("record", pa.array(range(rows.num_rows), pa.int64())))
        con.execute(f"CREATE OR REPLACE TABLE records AS {told_apart(model)}")
        con.unregister("given")
        if (families := model.families) is not None:
            self.households = self._pairs([families.when])
            if self.agreeing >= families.links and self.households <= families.share * self.agreeing:
                holds = [hold for hold in model.holds if not hold.of_families]
                self.model = model.model_copy(update={"holds": holds})

    @cached_property
    def agreeing(self) -> int:
        """How many pairs agree on a rule of `prior`."""
        return self._pairs([rule.when for rule in self.model.prior.rules])

    @cached_property
    def first_prior(self) -> float:
        """The probability that two random records of the data are one person's, by the declared rules."""
        return self._bounded(self.agreeing)

    def _pairs(self, conditions: Iterable[str]) -> int:
        """How many pairs of records meet one of the conditions."""
        found = " UNION ".join(
            f"SELECT l.record, r.record FROM records l JOIN records r ON l.record < r.record AND {condition}"  # noqa: S608
            for condition in conditions
        )
        return self._number(f"SELECT count(*) FROM ({found})")  # noqa: S608

    def _bounded(self, matches: float) -> float:
        """Matches as a share of all pairs, within the declared bounds."""
        declared, possible = self.model.prior, max(self.count * (self.count - 1) / 2, 1)
        bounded = min(max(matches, declared.fewest * self.count), declared.most * self.count)
        return float(min(bounded / possible, declared.ceiling))

    @cached_property
    def _api(self) -> Any:
        from splink import DuckDBAPI

        return DuckDBAPI(self.con)

    @cached_property
    def _linker(self) -> Any:
        from splink import Linker, SettingsCreator

        logging.getLogger("splink").setLevel(logging.ERROR)
        settings = SettingsCreator(
            link_type="dedupe_only",
            unique_id_column_name="record",
            probability_two_random_records_match=self.first_prior,
            comparisons=[comparison(c) for c in self.model.comparisons],
            blocking_rules_to_generate_predictions=[blocking(rule) for rule in self._blocking()],
            retain_matching_columns=True,  # brings the levels
            retain_intermediate_calculation_columns=True,
        )
        return Linker(self._api.register("records"), settings, log_level=None, validate_settings=False)

    def _blocking(self) -> list[Blocking]:
        return [EVERY_PAIR] if self.count <= self.model.compare_all_up_to else self.model.blocking

    def blocked(self) -> tuple[int, pa.Table]:
        """How many pairs were compared, and those of them that weigh `thresholds.keep` or more."""
        pairs = self._linker.inference.compute_blocked_pairs_for_predict()
        compared = self._number(f"SELECT count(*) FROM {pairs.physical_name}")  # noqa: S608
        found = self._predict(self.model.thresholds.keep)
        pairs.drop_table_from_database_and_remove_from_cache()
        weights = found["weight"].to_pylist()
        self.prior = estimated_prior(weights, self.first_prior, self._bounded, self.model.prior.rounds)
        return compared, self._moved(found)

    def among(self, pairs: Iterable[tuple[int, int]]) -> pa.Table:
        """The named pairs, whatever they weigh; after `blocked`, which estimates the prior."""
        wanted = pa.Table.from_pylist(
            [{"join_key_l": left, "join_key_r": right, "match_key": "0"} for left, right in pairs],
            schema=pa.schema([("join_key_l", pa.int64()), ("join_key_r", pa.int64()), ("match_key", pa.string())]),
        )
        if not wanted.num_rows:
            return PAIRS.empty_table()
        self._linker.table_management.register_blocked_pairs_for_predict(self._api.register(wanted))
        return self._moved(self._predict(None))

    def _moved(self, pairs: pa.Table) -> pa.Table:
        """Pairs with the estimated prior in place of the first."""
        moved = weight_of(self.prior) - weight_of(self.first_prior)
        weights = [weight + moved for weight in pairs["weight"].to_pylist()]
        made = {"weight": weights, "probability": [probability_of(weight) for weight in weights]}
        for name, values in made.items():
            pairs = pairs.set_column(pairs.schema.get_field_index(name), name, pa.array(values, pa.float64()))
        return pairs

    def _predict(self, above: float | None) -> pa.Table:
        found = self._linker.inference.predict(threshold_match_weight=above, warning_mode="never")
        made = self.con.sql(evidence_sql(self.model, found.physical_name)).to_arrow_table().cast(PAIRS)
        found.drop_table_from_database_and_remove_from_cache()
        return made

    def _number(self, sql: str) -> int:
        row = self.con.execute(sql).fetchone()
        return int(row[0]) if row else 0
