"""Fetching a delivery from a PostgreSQL database into a silo's landing folder: what changed, and what is gone.

All tables are read in one snapshot. What is known of the last delivery (keys and hashes of rows) lies beside the state.
A run that is killed leaves it as it was, so the next one finds the same changes again.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohortlake.core.catalog.origin import DatabaseTable, Postgresql
from cohortlake.core.catalog.silo import Feed
from cohortlake.core.database.sql import (
    LOCAL,
    Reading,
    UnreadableTableError,
    changed_since,
    newest_mark,
    plan_reading,
)
from cohortlake.core.errors import SourceError
from spark_jobs.database_compare import Comparison, Found
from spark_jobs.database_read import read
from spark_jobs.database_session import Snapshot, snapshot
from spark_jobs.landing import Delivered, Landing, stamp, time_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass
class Database:
    """One silo's fetching from its database. `tell` is given a line on what is going on."""

    source: Postgresql
    feeds: dict[str, Feed]
    landing: Landing
    session: Callable[[], SparkSession]
    tell: Callable[[str], None] = lambda what: None
    _rows: dict[str, int] = field(init=False)
    _gone: dict[str, int] = field(init=False)
    _problems: dict[str, str] = field(init=False)

    @cached_property
    def _spark(self) -> SparkSession:
        return self.session()

    def fetch(self, *, full: bool = False) -> Delivered:
        """Fetch one delivery: what changed since the last one, or (`full`) every row. Nothing changed, no delivery.

        Raises SourceError, with the landing folder's deliveries as they were; LakeBusyError, LakeWriteError.
        """
        with self.landing.lock():
            state = self.landing.read_state()
            self._after_a_kill(state)
            self._clear()
            self._rows, self._gone, self._problems = {}, {}, {}
            with snapshot(self.source) as snap:
                readings = self._readings(snap)
                made = {reading.feed: self._table(snap, reading, state.get("last", {}), full) for reading in readings}
            return self._publish(state, snap.moment, readings, made)

    def _readings(self, snap: Snapshot) -> list[Reading]:
        """How each table is read; each is held as it is from here on. Raises SourceError naming all that is amiss."""
        found, problems = [], []
        for feed, table in self.source.tables.items():
            try:
                reading = self._reading(snap, feed, table)
                snap.hold(reading)
                found.append(reading)
            except UnreadableTableError as error:
                problems.append(str(error))
        if problems:
            raise SourceError(
                "\n".join(problems),
                "Nothing was taken. Was a column renamed or dropped? Mend source.tables, or the feed's columns, in the "
                "silo's declaration.",
            )
        return found

    def _reading(self, snap: Snapshot, feed: str, table: DatabaseTable) -> Reading:
        if feed not in self.feeds:
            raise UnreadableTableError(f"source.tables.{feed} is no feed; there are {', '.join(self.feeds)}")
        declared = self.feeds[feed]
        schema, _, name = (table.table or feed).rpartition(".")
        place = (schema or "public", name)
        reading = plan_reading(
            feed, place, snap.columns(*place), columns=declared.columns, optional=declared.optional_columns,
            key=table.key or declared.key, watermark=table.watermark,
        )  # fmt: skip
        if reading.watermark and reading.watermark.type == LOCAL and not self.source.zone:
            raise UnreadableTableError(
                f"the watermark {reading.watermark.name} of table {'.'.join(place)} has no zone: declare source.zone"
            )
        return reading

    def _table(self, snap: Snapshot, reading: Reading, last: dict[str, Any], full: bool) -> dict[str, Any]:
        """Stage one table's changes, and keep what is known of it now; gives its part of the state."""
        self.tell(f"reads {'.'.join(reading.table)}")
        question = self._question(reading)
        before = last.get("tables", {}).get(reading.feed, {})
        known = self._known(last["known"]) / f"{reading.feed}.parquet" if before else None
        if known and before["question"]["key"] != question["key"]:
            self.tell(f"{reading.feed}: another key is declared: what is gone since the last delivery cannot be told")
            known = None
        mark = snap.ask(newest_mark(reading, self.source.zone))[0][0] if reading.watermark else None
        is_whole = full or known is None or mark is None or self._is_due(before, question, snap)
        if not is_whole and self._compare(snap, reading, known, before["mark"], full):
            compared_at = before["compared_at"]
        else:
            self._compare(snap, reading, known, None, full)
            compared_at = snap.moment
        return {"question": question, "mark": mark, "compared_at": compared_at}

    def _question(self, reading: Reading) -> dict[str, Any]:
        """What is asked of a table, as JSON gives it back."""
        return {
            "table": list(reading.table),
            "columns": {name: [column.name, column.type] for name, column in reading.columns.items()},
            "key": list(reading.key),
            "watermark": reading.watermark.name if reading.watermark else None,
            "zone": self.source.zone,
        }

    def _is_due(self, before: dict[str, Any], question: dict[str, Any], snap: Snapshot) -> bool:
        """Whether the table must be compared whole: another question, or long not done."""
        then, now = (datetime.datetime.fromisoformat(text) for text in (before["compared_at"], snap.moment))
        age = now - then
        return bool(
            before["question"] != question
            or before["mark"] is None
            or age >= datetime.timedelta(days=self.source.compare_days)
        )

    def _compare(
        self, snap: Snapshot, reading: Reading, known: Path | None, mark: str | None, full: bool
    ) -> Found | None:
        """Read a table (since `mark`, or whole) and stage what changed; None where the changes alone do not tell."""
        work = self.landing.private / "work" / reading.feed
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        rows, present, columns = work / "rows", None, tuple(reading.columns)
        if mark is None:
            read(self._spark, self.source, snap, reading, rows, names=columns)
        else:
            present = work / "present"
            since = changed_since(reading, mark, datetime.timedelta(minutes=self.source.overlap_minutes))
            read(self._spark, self.source, snap, reading, rows, names=columns, where=since)
            read(self._spark, self.source, snap, reading, present, names=reading.key)
        comparison = Comparison(rows, columns, reading.key, known=known, present=present, forget=full)
        try:
            found = comparison.found()
            if found.why_whole:
                self.tell(f"{reading.feed}: {found.why_whole}: the table is compared whole")
                return None
            self._check_gone(reading, found)
            self._stage(reading, comparison, found)
            return found
        finally:
            comparison.close()
            shutil.rmtree(work, ignore_errors=True)

    def _check_gone(self, reading: Reading, found: Found) -> None:
        if found.gone * 100 > self.source.max_gone_percent * found.known:
            raise SourceError(
                f"{found.gone:,} of {found.known:,} rows of {'.'.join(reading.table)} are gone, more than "
                f"{self.source.max_gone_percent:g} percent",
                "Was the table emptied or loaded anew? Nothing was taken. If they are truly gone, raise "
                "source.max_gone_percent for one run.",
            )

    def _stage(self, reading: Reading, comparison: Comparison, found: Found) -> None:
        if found.changed:
            self._rows[reading.feed] = comparison.write_rows(self.landing.staged / f"{reading.feed}.000001.csv.gz")
        if found.gone:
            taker = next((name for name, feed in self.feeds.items() if feed.deletes == reading.feed), None)
            name = taker or f"deleted_{reading.feed}"
            self._gone[name] = found.gone
            comparison.write_gone(self.landing.staged / f"{name}.000001.csv.gz")
            if taker is None:
                self._problems[f"{name}.000001.csv.gz"] = (
                    f"no feed takes what is gone of {reading.feed}: declare one with `deletes: {reading.feed}` and "
                    f"the columns {', '.join(reading.key)}"
                )
        comparison.keep(self._fresh / f"{reading.feed}.parquet")

    def _publish(self, state: dict[str, Any], moment: str, readings: list[Reading], made: dict[str, Any]) -> Delivered:
        last = state.get("last", {})
        name = self.landing.new_name(moment) if self._rows or self._gone else None
        delivered = Delivered(name, last.get("moment"), moment, self._rows, self._gone, problems=self._problems)
        state["next"] = {
            "moment": moment, "delivery": name, "known": int(last.get("known", 0)) + 1, "tables": made,
            "modified": time_of(moment, last.get("modified")) if name else last.get("modified"),
        }  # fmt: skip
        target = self._known(state["next"]["known"])
        shutil.rmtree(target, ignore_errors=True)
        self._fresh.rename(target)
        self.landing.write_state(state)
        if name:
            unread = {reading.feed: reading.unread for reading in readings if reading.unread}
            about = {"delivered": asdict(delivered), "tables": made, "columns_not_read": unread}
            for path in self.landing.staged.iterdir():
                stamp(path, state["next"]["modified"])
            older = {f"{feed}.000001.csv.gz" for feed in self._gone}
            self.landing.publish(name, about, state["next"]["modified"], older)
        self._adopt(state)
        return delivered

    def _adopt(self, state: dict[str, Any]) -> None:
        """The delivery is out: what was known before is no longer needed."""
        state["last"] = state.pop("next")
        self.landing.write_state(state)
        for path in self._known(0).parent.iterdir():
            if path != self._known(state["last"]["known"]):
                shutil.rmtree(path)

    def _after_a_kill(self, state: dict[str, Any]) -> None:
        """A delivery that came out just before its run was killed counts; one that did not is made again."""
        following = state.get("next")
        if following and following["delivery"] and self.landing.has(following["delivery"]):
            self._adopt(state)
        elif following:
            del state["next"]

    def _clear(self) -> None:
        self.landing.clear()
        shutil.rmtree(self.landing.private / "work", ignore_errors=True)
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._fresh.mkdir(parents=True)

    @property
    def _fresh(self) -> Path:
        return self.landing.private / "known/fresh"

    def _known(self, number: int) -> Path:
        return self.landing.private / "known" / str(number)
