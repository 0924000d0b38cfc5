"""`python -m tools.agreement`: write docs/agreement.md from the samples in COHORTLAKE_DATA."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tools.agreement.page import page

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("COHORTLAKE_DATA", ROOT.parent / "shared/data"))
PAGE = ROOT / "docs/agreement.md"

if __name__ == "__main__":
    if not (DATA / "fhir_converter_expected").is_dir():
        sys.exit(f"{DATA / 'fhir_converter_expected'} is not there: set COHORTLAKE_DATA to the folder of the corpora")
    PAGE.write_text(page(DATA), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written\n")
