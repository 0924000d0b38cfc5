"""Great Expectations' SQL engine over an open DuckDB connection: it judges every row where DuckDB holds it.

DuckDB is not among the databases that Great Expectations knows, so three things are said here: that nothing is written
(a result must outlive the transaction that SQLAlchemy ends before Great Expectations fetches it), how DuckDB writes a
regular expression, and that failing values that a result leaves out need not be fetched. And what does not change while
a suite is judged is made once: an expectation's configuration (asked for some 80 times a check) and what a metric needs
(asked for again wherever the metric is needed, four times of five).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal

import duckdb
import great_expectations as gx
import sqlalchemy
from duckdb_engine import ConnectionWrapper, Dialect
from great_expectations.core import id_dict
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults
from great_expectations.datasource.fluent import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import Expectation
from great_expectations.validator.validation_graph import ValidationGraph
from sqlalchemy.dialects import registry
from sqlalchemy.pool import StaticPool

SOURCE = "duckdb"
# Great Expectations chooses a database's words by what its dialect has: DuckDB's `regexp_matches(text, pattern)` is
# Dremio's, too.
WORDS = SimpleNamespace(DremioDialect=Dialect)


class ReadingDialect(Dialect):
    """DuckDB's dialect for a connection that is only read: no transaction is begun or ended."""

    supports_statement_cache = False

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin nothing, so that tables that are made meanwhile are seen."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """End nothing: it would drop a result that is not fetched yet."""

    def do_commit(self, dbapi_connection: Any) -> None:
        """End nothing."""


registry.register("duckdb.reading", __name__, "ReadingDialect")


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
    """Great Expectations' SQL engine on a DuckDB connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        # A cursor of its own, since SQLAlchemy closes it at the end.
        wrapped = ConnectionWrapper(connection.cursor())
        engine = sqlalchemy.create_engine("duckdb+reading://", creator=lambda: wrapped, poolclass=StaticPool)
        super().__init__(engine=engine, create_temp_table=False)
        self.dialect_module = WORDS

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[Any],
        metrics: dict[Any, Any] | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> dict[Any, Any]:
        """As Great Expectations resolves them; failing values that the result is to leave out are not fetched."""
        asked = list(metrics_to_resolve)
        left_out = {one.id for one in asked if _is_left_out(one)}
        due = [one for one in asked if one.id not in left_out]
        found = super().resolve_metrics(due, metrics, runtime_configuration) if due else {}
        return {**found, **{key: [] for key in left_out}}


def _is_left_out(metric: Any) -> bool:
    wanted = metric.metric_value_kwargs.get("result_format")
    is_values = metric.metric_name.endswith(".unexpected_values")
    return is_values and isinstance(wanted, dict) and bool(wanted.get("exclude_unexpected_values"))


class DuckDBDatasource(SQLDatasource):
    """A Great Expectations data source over an open DuckDB connection."""

    type: Literal["duckdb"] = "duckdb"  # type: ignore[assignment]

    def on(self, connection: duckdb.DuckDBPyConnection) -> DuckDBDatasource:
        """This source, reading from a connection."""
        self._execution_engine = DuckDBExecutionEngine(connection)
        return self

    def test_connection(self, test_assets: bool = True) -> None:
        """Test nothing: the connection is open."""

    def get_execution_engine(self) -> SqlAlchemyExecutionEngine:
        """The engine of the connection."""
        return self._execution_engine

    def get_engine(self) -> sqlalchemy.Engine:
        """SQLAlchemy's engine of the connection."""
        return self._execution_engine.engine


@cache
def memory_context() -> Any:
    """The process's own Great Expectations context: it keeps nothing on disk and shows no progress bars."""
    config = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(), analytics_enabled=False)
    context = gx.get_context(mode="ephemeral", project_config=config)
    context.variables.progress_bars = {"globally": False}
    return context


@contextmanager
def table_batch(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Any]:
    """A whole table of a DuckDB connection as Great Expectations' batch."""
    sources = memory_context().data_sources
    source = sources.add_duckdb(name=SOURCE, connection_string="duckdb:///:memory:").on(connection)
    try:
        asset = source.add_table_asset(table, table_name=table)
        with _nothing_made_twice():
            yield asset.add_batch_definition_whole_table("all").get_batch()
    finally:
        sources.delete(SOURCE)


@contextmanager
def _nothing_made_twice() -> Iterator[None]:
    """While it lasts, an expectation's configuration and a metric's needs are made when first asked for, and kept.

    An expectation does not change while it is judged; to make its configuration walks all its fields. In the graph of
    an expectation's metrics, Great Expectations asks what a metric needs once for each that needs it, and for all that
    those need: the edges are there already. Of what names a metric it makes a copy that is fit for JSON, which texts
    and whole numbers are.
    """
    made: dict[int, tuple[Any, Any]] = {}
    convert = id_dict.convert_to_json_serializable
    configuration, build = Expectation.configuration, ValidationGraph.build_metric_dependency_graph

    def made_once(self: Any) -> Any:
        known = made.get(id(self))
        if known is None:
            # The expectation is kept too, so that no other one gets its id meanwhile.
            known = made[id(self)] = (self, configuration.fget(self))
        return known[1]

    def built_once(self: Any, metric_configuration: Any, runtime_configuration: Any = None) -> None:
        built = self.__dict__.setdefault("built", set())
        if metric_configuration.id not in built:
            built.add(metric_configuration.id)
            build(self, metric_configuration, runtime_configuration)

    id_dict.convert_to_json_serializable = lambda data: data if _is_plain(data) else convert(data)
    Expectation.configuration = property(made_once)
    ValidationGraph.build_metric_dependency_graph = built_once
    try:
        yield
    finally:
        id_dict.convert_to_json_serializable = convert
        Expectation.configuration = configuration
        ValidationGraph.build_metric_dependency_graph = build


def _is_plain(data: Any) -> bool:
    """Whether JSON takes a value as it is."""
    if isinstance(data, dict):
        return all(type(key) is str and _is_plain(value) for key, value in data.items())
    if type(data) is list:
        return all(map(_is_plain, data))
    return data is None or type(data) in (str, bool, int)
