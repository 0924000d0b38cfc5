"""How many records a silo's deliveries held, so that the next one can be told from a truncated one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spark_jobs import delta
from spark_jobs.batches import published_version
from spark_jobs.context import Context


class Volumes:
    """The records of this delivery and of the last one that passed, by feed.

    A batch that only takes up quarantined records again is no delivery: its volumes say nothing, and are not kept.
    """

    def __init__(self, ctx: Context, batch: Mapping[str, Any]) -> None:
        self._path = ctx.lake.ops("volumes") / f"{ctx.scope}.json"
        self._batch, self._feeds = batch["batch"], batch["delivered"]
        self._declared = list(ctx.catalog.silos[ctx.scope].feeds)
        self._is_delivery = batch.get("bronze_version") != published_version(ctx.lake, ctx.scope)

    def _kept(self) -> dict[str, dict[str, int]]:
        """Volumes by batch, the newest last."""
        kept: dict[str, dict[str, int]] = json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}
        return kept

    def facts(self) -> dict[str, Any]:
        """`FEED.records` of every declared feed, and `FEED.drop_percent` of those that came both times."""
        if not self._is_delivery:
            return {}
        before = [feeds for batch, feeds in self._kept().items() if batch != self._batch]
        last = before[-1] if before else {}
        facts: dict[str, Any] = {f"{feed}.records": self._feeds.get(feed, 0) for feed in self._declared}
        for feed, records in self._feeds.items():
            if last.get(feed):
                facts[f"{feed}.drop_percent"] = max(0.0, 100 * (1 - records / last[feed]))
        return facts

    def keep(self) -> None:
        """Keep this delivery's volumes, with those of the last one before it: a batch may be gated again."""
        if self._is_delivery:
            others = [(batch, feeds) for batch, feeds in self._kept().items() if batch != self._batch]
            delta.write_json(self._path, dict([*others[-1:], (self._batch, self._feeds)]))
