"""The files of a work tree as git sees them: content hashes that are the same on every machine.

Git's own hash of a file's content is used: ignored files are not in it, and a checkout with other line endings has the
same one, as git's settings for them are applied.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools.proofs import ProofError


def _git(root: Path, *arguments: str, lines: str | None = None) -> str:
    # The owner of a checkout may be another user than the one that tests it, as in a container.
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, input=lines, capture_output=True, text=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        raise ProofError("git is not installed: proofs are kept by the hashes that git gives files") from None
    if done.returncode:
        raise ProofError(f"git {arguments[0]} failed in {root.name}: {done.stderr.strip()}")
    return done.stdout


def file_hashes(root: Path) -> dict[str, str]:
    """Each file that git does not ignore, committed or not: path from `root`, with slashes, to content hash."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    paths = sorted({path for path in listed if path and (root / path).is_file()})
    hashes = _git(root, "hash-object", "--stdin-paths", lines="".join(f"{path}\n" for path in paths)).split()
    return dict(zip(paths, hashes, strict=True))


def commit_hash(root: Path) -> str:
    """The hash of the commit that is checked out."""
    return _git(root, "rev-parse", "HEAD").strip()
