"""A silo's files: which feed claims each, its time, and the hash of its content, by which it is known.

A file that looks as it did when it was hashed (size, times, inode) is not read again, so that a run over a folder of
years costs what is new in it. One that was written within the last seconds is hashed each time: two writes may bear one
time.
"""

from __future__ import annotations

import datetime
import fnmatch
import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cohortlake.core.catalog import Silo
from cohortlake.core.errors import SourceError
from cohortlake.core.lake import Lake
from spark_jobs import delta
from spark_jobs.parallel import Unit

FRESH_NANOSECONDS = 10 * 10**9


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _looks(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _place(path: Path) -> str:
    """What stands for a path in what is kept: a file's name may name a patient."""
    return hashlib.sha256(str(path).encode()).hexdigest()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _feed_of(silo: Silo, name: str) -> str | None:
    return next((feed for feed, declared in silo.feeds.items() if _matches(name, declared.files)), None)


def source_files(lake: Lake, silo: Silo, data: Path) -> list[Unit]:
    """The silo's files with feed, size, time and hash; hidden ones, and those in hidden folders, are not the source's.

    Raises SourceError.
    """
    folder = data / silo.folder
    if not folder.is_dir():
        raise SourceError(
            f"silo {silo.name}: there is no folder {folder}",
            f"Put the silo's files there, or give the folder that holds {silo.folder}/ with --data.",
        )
    kept = lake.ops("files") / f"{silo.name}.json"
    before: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_hidden(path.relative_to(folder)) and not _matches(path.name, silo.left_out)
    ]

    def seen(path: Path) -> tuple[os.stat_result, str]:
        stat = path.stat()
        known = before.get(_place(path))
        return stat, known["hash"] if known and known["looks"] == _looks(stat) else _hash(path)

    try:
        with ThreadPoolExecutor() as pool:
            found = dict(zip(paths, pool.map(seen, paths), strict=True))
    except OSError as error:
        raise SourceError(f"silo {silo.name}: cannot read {error.filename}: {error.strerror}") from error
    settled = time.time_ns() - FRESH_NANOSECONDS
    after = {
        _place(path): {"looks": _looks(stat), "hash": digest}
        for path, (stat, digest) in found.items()
        if stat.st_mtime_ns < settled and stat.st_ctime_ns < settled
    }
    if after != before:
        delta.write_json(kept, after)
    return [_unit(silo, folder, path, stat, digest) for path, (stat, digest) in found.items()]


def _unit(silo: Silo, folder: Path, path: Path, stat: os.stat_result, digest: str) -> Unit:
    modified = datetime.datetime.fromtimestamp(int(stat.st_mtime), datetime.UTC).isoformat()
    about = {"path": str(path), "file": str(path.relative_to(folder)), "file_hash": digest, "modified": modified}
    about |= {"bytes": stat.st_size, "feed": _feed_of(silo, path.name), "stat": [stat.st_size, stat.st_mtime_ns]}
    return about
