"""Slow proofs and their committed record, `tests/proofs.json`: what was proved, and of which content (docs/testing.md).

`python -m tools.proofs --help` teaches the commands.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = "tests/proofs.json"


class ProofError(Exception):
    """Something that the person who runs the proofs can mend; its text is shown as it is."""
