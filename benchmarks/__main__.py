"""Measure, and write benchmarks/RESULTS.md a section at a time.

make bench                                    # ingest: hospital A multiplied to 2 GB, three rounds
make bench ARGS="--all"                       # every section
make bench ARGS="views scale --rounds 1"      # some of them
make bench ARGS="ingest --megabytes 100 --rounds 1 --no-write"
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.results import write_section
from benchmarks.settings import Settings

SECTIONS = ("ingest", "pathling", "views", "gate", "scale", "merge", "formats")
RESULTS = ROOT / "benchmarks/RESULTS.md"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} [default: ingest]")
    parser.add_argument("--all", action="store_true", help="every section")
    parser.add_argument("--megabytes", type=float, help="of NDJSON")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--rows", type=int, help="of the table that is merged into")
    parser.add_argument("--no-write", action="store_true", help="print only, leave RESULTS.md as it is")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.sections) - set(SECTIONS)):
        parser.error(f"there is no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    chosen = SECTIONS if asked.all else asked.sections or ["ingest"]
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in SECTIONS}
    titles = [module.TITLE for module in modules.values()]
    for name in chosen:
        folder = Path(tempfile.mkdtemp(prefix="cohortlake-bench-"))
        try:
            text = modules[name].measure(Settings(asked.megabytes, asked.rounds, asked.rows), folder)
        finally:
            shutil.rmtree(folder)
        sys.stdout.write(f"## {modules[name].TITLE}\n\n{text}\n\n")
        sys.stdout.flush()
        if not asked.no_write:
            write_section(RESULTS, modules[name].TITLE, text, titles)


if __name__ == "__main__":
    main()
