"""Ours: files of a format to FHIR, a resource a line, as `cohortlake convert` and a task of the lake make them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.worker import serve
from cohortlake.core.convert import Options, dumps, format_named


def convert(name: str, data: str, target: str) -> Mapping[str, Any]:
    """A folder's files to one NDJSON file; what is quarantined is counted."""
    fmt, options, resources, quarantined = format_named(name), Options(), 0, 0
    with Path(target).open("w", encoding="utf-8") as stream:
        for path in sorted(Path(data).iterdir()):
            for record in fmt.records(path.read_bytes()):
                converted = fmt.to_fhir(record, options) if record.problem is None else None
                if converted is None or converted.error:
                    quarantined += 1
                    continue
                for resource in converted.resources:
                    stream.write(dumps(resource) + "\n")
                    resources += 1
    return {"resources": resources, "quarantined": quarantined}


if __name__ == "__main__":
    serve({"convert": convert})
