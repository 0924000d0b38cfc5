"""The folder that a silo's deliveries are fetched into: each appears in it whole, by one rename.

```
FOLDER/<delivery>/…            what land takes
FOLDER/<delivery>/_delivery.json   where it came from: for people, not for land
FOLDER/.fetch/state.json       how far the fetching is
FOLDER/.fetch/staged/…         a delivery that is not yet whole
```
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import struct
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cohortlake.core.errors import LakeBusyError
from cohortlake.core.lake import write_error


@dataclass(frozen=True)
class Delivered:
    """What was fetched at once. `delivery` is its folder's name, None where there was nothing to fetch.

    `rows` counts records by feed, `deleted` those that say what is gone. Both hold from `since` (None: from the
    beginning) to `until`, instants of the source. `issues` counts what the source says went wrong, by kind; `problems`
    says what is wrong with files that were taken all the same.
    """

    delivery: str | None
    since: str | None
    until: str | None
    rows: dict[str, int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    issues: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Landing:
    """A silo's landing folder. Only the holder of its lock may change it."""

    folder: Path

    @property
    def private(self) -> Path:
        """What is kept from one fetch to the next; land does not see it, and only its owner can read it."""
        return self.folder / ".fetch"

    @property
    def staged(self) -> Path:
        return self.private / "staged"

    @property
    def _state(self) -> Path:
        return self.private / "state.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder; the kernel lets go of it however the process ends. Raises LakeBusyError, LakeWriteError."""
        with _clear(self.folder):
            self.staged.mkdir(parents=True, exist_ok=True)
            # What is kept here may hold signed URLs and hashes of rows: it is for its owner.
            self.private.chmod(0o700)
            handle = os.open(self.private / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LakeBusyError(
                    f"another run fetches into {self.folder}", "Wait for it to end, then run again."
                ) from error
            yield
        finally:
            os.close(handle)

    def read_state(self) -> dict[str, Any]:
        """What the last `write_state` kept; empty before the first."""
        if not self._state.exists():
            return {}
        state: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        return state

    def write_state(self, state: dict[str, Any]) -> None:
        """Keep a state so that it outlives a crash. Raises LakeWriteError."""
        with _clear(self._state):
            fresh = self._state.with_suffix(".part")
            with fresh.open("w", encoding="utf-8") as stream:
                json.dump(state, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(self._state)

    def clear(self) -> None:
        """Forget the delivery that is not whole."""
        shutil.rmtree(self.staged, ignore_errors=True)
        with _clear(self.staged):
            self.staged.mkdir(parents=True, exist_ok=True)

    def has(self, delivery: str) -> bool:
        return (self.folder / delivery).is_dir()

    def new_name(self, instant: str) -> str:
        """The folder of a delivery: its instant in UTC, so that names are in the order of time."""
        moment = datetime.datetime.fromisoformat(instant).astimezone(datetime.UTC)
        name = moment.strftime("%Y%m%dT%H%M%S.%f").rstrip("0").rstrip(".") + "Z"
        fresh, number = name, 1
        while self.has(fresh):
            number += 1
            fresh = f"{name}-{number}"
        return fresh

    def about(self, delivery: str) -> dict[str, Any]:
        """What `publish` was told of a delivery."""
        about: dict[str, Any] = json.loads((self.folder / delivery / "_delivery.json").read_text(encoding="utf-8"))
        return about

    def keep_only(self, names: set[str]) -> None:
        """Remove what else lies staged: left by a run that was killed."""
        for path in self.staged.iterdir():
            if path.name not in names:
                path.unlink()

    def publish(self, delivery: str, about: dict[str, Any], modified: int, older: Container[str] = ()) -> Path:
        """Let the staged delivery appear, with `about` as its `_delivery.json`. Raises LakeWriteError.

        Its files bear the time `modified` (seconds since 1970), by which land orders versions; those named in `older`
        one second less. They tell what is gone: a record that is told as gone and as there at once is there.
        """
        place = self.folder / delivery
        with _clear(place):
            text = json.dumps(about, indent=1, ensure_ascii=False)
            (self.staged / "_delivery.json").write_text(text + "\n", encoding="utf-8")
            for path in self.staged.iterdir():
                moment = modified - (path.name in older)
                os.utime(path, (moment, moment))
                _sync(path)
            _sync(self.staged)
            self.staged.rename(place)
            _sync(self.folder)
        return place


def time_of(instant: str, last: int | None) -> int:
    """The time of a delivery's files, in seconds since 1970: the source's instant, and later than the last one's."""
    moment = math.floor(datetime.datetime.fromisoformat(instant).timestamp())
    return moment if last is None else max(moment, last + 2)


def stamp(path: Path, moment: int) -> None:
    """Write a gzip file's time (RFC 1952, MTIME; seconds since 1970), so that no two deliveries hold the same file.

    Land does not land a file twice; what changes back, or is deleted again, would make the file that it made before.
    """
    with path.open("r+b") as stream:
        stream.seek(4)
        stream.write(struct.pack("<L", moment % 2**32))


def digest(path: Path) -> str:
    """A file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems do not sync folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)


@contextmanager
def _clear(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_error(error, path) from error
