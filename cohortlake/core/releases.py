"""Releases of training sets: immutable folders, each holding all that is needed to use and to check it.

```
LAKE/research/releases/<cohort>/<version>/
    train.parquet  validation.parquet  test.parquet  datasheet.md  release.json      or, taken back, withdrawn.json
```

A version is the declaration's version and a content hash (`1.0.0-3fa2c1d9`): equal content has an equal name, wherever
and whenever it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake, write_error

FACTS = "release.json"
WITHDRAWN = "withdrawn.json"
SPLITS = ("train", "validation", "test")
HASH_DIGITS = 8


@dataclass(frozen=True)
class Release:
    """A release: its folder, and the facts of its `release.json`."""

    cohort: str
    version: str
    folder: Path
    facts: dict[str, Any]

    @property
    def released_at(self) -> str:
        """When it was made, UTC, ISO 8601: the one fact that two makings of a release do not share."""
        return str(self.facts["released_at"])


def file_sha256(path: Path) -> str:
    """A file's SHA-256 in hex. Raises OSError where it cannot be read."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def json_sha256(content: Any) -> str:
    """The SHA-256 of JSON content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def release_version(declared: str, definition: Mapping[str, str], files: Mapping[str, str]) -> str:
    """A release's version: the declared one and a hash of the definition's files and of the three splits' data.

    `definition` and `files` are SHA-256 by file name. Pinned table versions stay out: a table that is only compacted
    has a new version and the same rows, and must not bring a new release.
    """
    data = {f"{split}.parquet": files[f"{split}.parquet"] for split in SPLITS}
    return f"{declared}-{json_sha256({'definition': dict(definition), 'data': data})[:HASH_DIGITS]}"


def read_release(folder: Path) -> Release:
    """The release in a folder. Raises UsageError where there is none."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if (folder / WITHDRAWN).exists():
            about = json.loads((folder / WITHDRAWN).read_text(encoding="utf-8"))
            raise UsageError(
                f"{folder.name} was withdrawn at {about['withdrawn_at']}: a person in it was erased",
                "`cohortlake run` releases anew, without the person; `cohortlake training list` names what there is.",
            ) from error
        raise UsageError(f"{folder}: there is no release here", "`cohortlake training list` names them.") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{folder / FACTS}:{error.lineno}: not JSON: {error.msg}", "It is damaged.") from error
    return Release(facts["cohort"], facts["version"], folder, facts)


def list_releases(lake: Lake, cohort: str) -> list[Release]:
    """A cohort's releases, oldest first; none where nothing was released. Folders that start with `.` are not whole."""
    folders = [path.parent for path in lake.releases(cohort).glob(f"*/{FACTS}")]
    found = [read_release(folder) for folder in folders if not folder.name.startswith(".")]
    return sorted(found, key=lambda release: (release.released_at, release.version))


def find_release(lake: Lake, cohort: str, version: str | None = None) -> Release:
    """A cohort's release by version, or the newest. Raises UsageError where there is no such release."""
    if version:
        return read_release(lake.releases(cohort) / version)
    releases = list_releases(lake, cohort)
    if not releases:
        raise UsageError(f"{cohort} has no release in {lake.root}", "`cohortlake run` makes one.")
    return releases[-1]


def withdraw(folder: Path, erasure: str) -> None:
    """Take a release back: its data go, and a note says when and by which erasure. Raises LakeWriteError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A folder without its facts is no release, so these go first.
        for path in sorted(folder.iterdir(), key=lambda path: path.name != FACTS):
            if path.name != WITHDRAWN:
                path.unlink()
        if not (folder / WITHDRAWN).exists():
            about = {"withdrawn_at": datetime.now(UTC).isoformat(timespec="seconds"), "erasure": erasure}
            (folder / WITHDRAWN).write_text(json.dumps(about, indent=1), encoding="utf-8")
    except OSError as error:
        raise write_error(error, folder) from error


def verify(release: Release) -> list[str]:
    """What is wrong with a release, a sentence each; an empty list says that every byte is as it was released."""
    listed: dict[str, str] = release.facts["files"]
    present = {path.name for path in release.folder.iterdir()} - {FACTS}
    problems = [f"{name} is missing" for name in sorted(set(listed) - present)]
    problems += [f"{name} is not part of the release" for name in sorted(present - set(listed))]
    found = {name: file_sha256(release.folder / name) for name in sorted(set(listed) & present)}
    problems += [f"{name} was altered: its SHA-256 is {found[name]}" for name in found if found[name] != listed[name]]
    expected = release_version(release.facts["declared_version"], release.facts["inputs"]["definition"], listed)
    if not release.folder.name == release.version == expected:
        problems.append(f"{FACTS} was altered: its content has the version {expected}, not {release.folder.name}")
    return problems
