"""`python -m tools.coverage [--lake LAKE]`: write docs/coverage.md; with a lake, measure anew what its silos fill."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tools.coverage.measured import measure
from tools.coverage.page import CATALOG, HERE, coverage, page

PAGE = CATALOG.parent / "docs/coverage.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, help="measure what the silos of this lake fill")
    asked = parser.parse_args()
    if asked.lake:
        told = json.dumps(measure(asked.lake), indent=1, sort_keys=True)
        (HERE / "measured.json").write_text(f"{told}\n", encoding="utf-8")
    found = coverage()
    PAGE.write_text(page(found), encoding="utf-8")
    for line in found.wrong():
        sys.stderr.write(f"{line}\n")
    return 1 if found.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
