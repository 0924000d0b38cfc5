"""Where things lie in a lake: two zones, and the operational books beside them.

```
LAKE/phi/       bronze/<silo>  silver/<ResourceType>  tombstones  same_facts  persons/  quarantine  staging/  vault/
                unmapped_codes  erased  erasing.json
LAKE/research/  gold/<table>   releases/<cohort>/<version>/  staging/
LAKE/ops/       accounting  completeness  runs/<run>/<step>.json  docs/  locks/
```
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cohortlake.core.errors import LakeBusyError, LakeWriteError


@dataclass(frozen=True)
class Lake:
    """A lake's root folder. Tables are folders under it, named by (zone, room, name)."""

    root: Path

    def bronze(self, silo: str) -> Path:
        return self.root / "phi/bronze" / silo

    def silver(self, resource_type: str) -> Path:
        return self.root / "phi/silver" / resource_type

    @property
    def tombstones(self) -> Path:
        return self.root / "phi/tombstones"

    @property
    def same_facts(self) -> Path:
        return self.root / "phi/same_facts"

    @property
    def unmapped_codes(self) -> Path:
        return self.root / "phi/unmapped_codes"

    @property
    def quarantine(self) -> Path:
        return self.root / "phi/quarantine/records"

    @property
    def quarantined_files(self) -> Path:
        return self.root / "phi/quarantine/files"

    @property
    def erased(self) -> Path:
        return self.root / "phi/erased"

    @property
    def erasing(self) -> Path:
        """Where an erasure that is under way is noted; it names the person, and goes when the erasure is done."""
        return self.root / "phi/erasing.json"

    @property
    def vault(self) -> Path:
        return self.root / "phi/vault"

    def staging(self, zone: str, scope: str) -> Path:
        return self.root / zone / "staging" / scope

    def gold(self, table: str) -> Path:
        return self.root / "research/gold" / table

    def releases(self, cohort: str) -> Path:
        return self.root / "research/releases" / cohort

    def ops(self, table: str) -> Path:
        return self.root / "ops" / table

    @property
    def runs(self) -> Path:
        return self.root / "ops/runs"

    @property
    def docs(self) -> Path:
        return self.root / "ops/docs"

    @contextmanager
    def lock(self, name: str, wait: bool = True, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock `name`; the kernel lets go of it however the process ends.

        Raises LakeBusyError where it is held and `wait` is off, LakeWriteError where the lake cannot be written.
        """
        folder = self.root / "ops/locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise write_error(error, folder) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if not wait:
                    raise LakeBusyError(
                        f"another run holds {name} of the lake {self.root}",
                        "Wait for it to end, or run without --no-wait to queue behind it.",
                    ) from error
                on_wait()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


REASONS = {
    errno.ENOSPC: ("the disk is full", "Free space, then run again: what was published is whole and live."),
    errno.EDQUOT: ("the disk quota is used up", "Free space, then run again: what was published is whole and live."),
    errno.EROFS: ("the file system is read-only", "Mount it writable, or give another folder with --lake."),
    errno.EACCES: ("permission is denied", "Give this user write permission, or another folder with --lake."),
    errno.EPERM: ("the operation is not permitted", "Give this user write permission, or another folder with --lake."),
}


def write_error(error: OSError, path: Path | str) -> LakeWriteError:
    """The clear error for an OSError met while writing `path`."""
    # delta-rs gives the system's words and no number.
    number = error.errno or next((code for code in REASONS if os.strerror(code) in str(error)), 0)
    reason, hint = REASONS.get(number, (error.strerror or str(error), "Mend that, then run again."))
    return LakeWriteError(f"cannot write {path}: {reason}", hint)
