"""What each corpus becomes, as digests: proof that a change of the engines changes nothing (`tests/golden.json`).

`python -m tests.golden` converts every corpus and every bundled silo, and writes the file anew: what a change does to a
format is then one line of the difference, which the commit explains. `tests/acceptance/test_golden.py` compares.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cohortlake.core.convert import Options, dumps, format_named

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("COHORTLAKE_DATA", ROOT.parent / "shared/data"))
FILE = Path(__file__).parent / "golden.json"
# (Whole paths: by these a proof's record knows that it depends on the files.)
X12 = ["tests/integration/x12/835.edi", "tests/integration/x12/837i.edi", "tests/integration/x12/837p.edi"]
# Format and files of each corpus; files of the project first.
CORPORA: dict[str, tuple[str, list[str]]] = {
    "hl7v2 of site_b": ("hl7v2", ["site_b_hl7v2_feed/*.hl7"]),
    "hl7v2 samples": ("hl7v2", ["hl7v2_samples_fhir_converter/*.hl7"]),
    "ccda of site_c": ("ccda", ["site_c_ccda_cpcds/ccda.zip"]),
    "ccda samples": ("ccda", ["ccda_samples_fhir_converter/*.ccda"]),
    "ccda fragments": ("ccda", ["ccda_fragments_hl7/**/*.xml"]),
    "cpcds of site_c": ("cpcds", ["site_c_ccda_cpcds/*.csv.gz"]),
    "rif of payer_d": ("rif", ["payer_d_bfd_rif/*.csv.gz", "payer_d_bfd_rif/*.tsv.gz"]),
    "rif of CMS": ("rif", ["claims_rif_cms_bfd/rif-synthea/*.csv"]),
    "x12 samples": ("x12", ["x12_imsweb/**/*.txt", "x12_imsweb/**/*.edi"]),
    "x12 examples": ("x12", X12),
}
SILOS = ("site_a_fhir_r4", "site_b_csv", "site_b_hl7v2", "site_c_ccda", "site_c_cpcds", "payer_d_rif")
Golden = dict[str, Any]


def files_of(patterns: Iterable[str]) -> list[Path]:
    """The files of a corpus, of the project or of the data folder, in one order everywhere."""
    return [path for pattern in patterns for path in sorted((*DATA.glob(pattern), *ROOT.glob(pattern)))]


def of_corpus(name: str) -> Golden:
    """Records, resources a type (count and digest), problems by reason, and digests of all that is counted."""
    kind, patterns = CORPORA[name]
    fmt = format_named(kind)
    lines: dict[str, list[str]] = {}
    problems: Counter[str] = Counter()
    places: list[str] = []
    unmapped: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    records = 0
    for path in files_of(patterns):
        for record in fmt.records(_bytes(path)):
            records += 1
            converted = fmt.to_fhir(record, Options())
            for resource in converted.resources:
                lines.setdefault(resource["resourceType"], []).append(dumps(resource))
            for problem in converted.problems:
                problems[f"{problem.severity}: {problem.reason}"] += 1
                places.append(f"{path.name} {record.offset} {problem.reason} {problem.place}")
            unmapped += converted.unmapped
            codes.update({f"{label}: {code}": count for (label, code), count in converted.codes.items()})
    return {
        "records": records,
        "resources": {kind: [len(found), _digest(sorted(found))] for kind, found in sorted(lines.items())},
        "problems": dict(sorted(problems.items())),
        "places": _digest(sorted(places)),
        "unmapped": [unmapped.total(), _digest(_counted(unmapped))],
        "codes": [codes.total(), _digest(_counted(codes))],
    }


def of_silo(name: str, folder: Path) -> Golden:
    """The rows and the digest of each of silver's tables, after a bundled silo's ingest into a lake of its own."""
    from tests import flow

    lake = folder / name
    flow.run(lake, ROOT / "data", lambda step: step.scope == name)
    return {table: list(found) for table, found in flow.content(lake).items()}


def differences(must: Any, does: Any, place: str = "") -> Iterator[str]:
    """Where two goldens differ, a line each."""
    if isinstance(must, dict) and isinstance(does, dict):
        for name in sorted(must.keys() | does.keys()):
            yield from differences(must.get(name), does.get(name), f"{place}/{name}")
    elif must != does:
        yield f"{place}: {must} is now {does}"


def _bytes(path: Path) -> bytes:
    import gzip

    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _counted(counts: Counter[str]) -> list[str]:
    return [f"{name} {count}" for name, count in sorted(counts.items())]


def main() -> None:
    """Write the file anew."""
    import tempfile

    made: Golden = {}
    for name in CORPORA:
        made[name] = of_corpus(name)
        print(f"{name}: {made[name]['records']} records", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for silo in SILOS:
            made[f"silver of {silo}"] = of_silo(silo, Path(folder))
            print(f"silver of {silo}: {len(made[f'silver of {silo}'])} tables", flush=True)
    FILE.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
