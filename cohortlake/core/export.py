"""Silver back to FHIR: bulk-export NDJSON, a file a resource type, without a JVM."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.errors import UsageError
from cohortlake.core.fhir.render import resources
from cohortlake.core.gold import delta_connection, scan
from cohortlake.core.history import AsOf, commits
from cohortlake.core.lake import Lake, write_error
from cohortlake.core.sql import literal

# Rows rendered at once: some tens of megabytes of text.
ROWS = 20_000
REST = "_rest"


def types(lake: Lake) -> list[str]:
    """The resource types that silver holds."""
    return sorted(path.parent.name for path in (lake.root / "phi/silver").glob("*/_delta_log"))


def lines(lake: Lake, resource_type: str, silos: Sequence[str] = (), at: AsOf | None = None) -> Iterator[pa.Array]:
    """The resources of a type that are live, or were `at` a version or time, as JSON texts, some at a time."""
    connection = delta_connection()
    sql = f"SELECT * FROM {scan(connection, lake.silver(resource_type), at)}"  # noqa: S608
    if silos:
        sql += f" WHERE silo IN ({', '.join(map(literal, silos))})"
    for batch in connection.sql(sql).arrow(ROWS):
        rows = pa.Table.from_batches([batch])
        elements = [name for name in rows.column_names if not name.startswith("_") and name != "silo"]
        rest = rows[REST].combine_chunks() if REST in rows.column_names else None
        yield resources(resource_type, rows.select(elements), rest)


def _was_there(lake: Lake, resource_type: str, at: AsOf | None) -> bool:
    """Whether a type had a table at a moment."""
    if at is None or at.moment is None:
        return True
    return min(commits(lake.silver(resource_type)).values()) <= at.moment


def export(
    lake: Lake,
    target: Path,
    *,
    silos: Sequence[str] = (),
    only: Sequence[str] = (),
    zipped: bool = False,
    at: AsOf | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> dict[str, int]:
    """Write `target/<ResourceType>.ndjson` (`.ndjson.gz`) for each type; gives the resources written by type.

    A file is there whole or not at all. With `at` they are as they were at a version or time; types that came later are
    left out where no type is named. Raises UsageError for a type, silo or version that the lake does not hold,
    LakeWriteError where the disk refuses.
    """
    held = types(lake)
    if unknown := sorted(set(only) - set(held)):
        raise UsageError(f"the lake has no {', '.join(unknown)}", f"It has {', '.join(held) or 'no resources yet'}.")
    known = sorted(path.name for path in (lake.root / "phi/bronze").glob("*"))
    if unknown := sorted(set(silos) - set(known)):
        raise UsageError(f"the lake has no silo {', '.join(unknown)}", f"It has {', '.join(known)}.")
    chosen = [name for name in held if name in only or (not only and _was_there(lake, name, at))]
    counts: dict[str, int] = {}
    opened: Callable[..., Any] = gzip.open if zipped else open
    for done, name in enumerate(chosen):
        progress(done, len(chosen), name)
        path = target / f"{name}.ndjson{'.gz' if zipped else ''}"
        fresh = path.with_name(f".{path.name}")
        try:
            target.mkdir(parents=True, exist_ok=True)
            with opened(fresh, "wt", encoding="utf-8") as stream:
                counts[name] = 0
                for texts in lines(lake, name, silos, at):
                    stream.writelines(f"{text}\n" for text in texts.to_pylist())
                    counts[name] += len(texts)
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise write_error(error, path) from error
    progress(len(chosen), len(chosen), "")
    return counts
