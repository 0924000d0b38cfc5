"""What HAPI's validator says of each silo's silver and of converted corpora; docs/conformance.md is written from it.

    python -m tools.conformance LAKE

Errors that are no fault which could be mended here are listed in `tools/conformance.yaml`, with the reason.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from cohortlake.core.catalog import load_catalog
from cohortlake.core.convert import Options, dumps, format_named
from cohortlake.core.export import export
from cohortlake.core.lake import Lake
from tools.fetch_validator import VALIDATOR, VERSION
from tools.hapi_validator import Finding, Validator
from tools.validate_fhir import Summary, files, summary

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("COHORTLAKE_DATA", ROOT.parent / "shared/data"))
PAGE = ROOT / "docs/conformance.md"
# Corpora by name: their folder, their format, and which files of the folder they are.
CORPORA = {
    "139 HL7 v2 samples": ("hl7v2_samples_fhir_converter", "hl7v2", "*.hl7"),
    "22 C-CDA samples": ("ccda_samples_fhir_converter", "ccda", "*.ccda"),
    "66 C-CDA fragments": ("ccda_fragments_hl7", "ccda", "**/*.xml"),
    "31 X12 files": ("x12_imsweb", "x12", "**/*.txt"),
    "21 RIF files": ("claims_rif_cms_bfd", "rif", "**/*.csv"),
}
SAMPLE = 60


@dataclass(frozen=True)
class Known:
    """Errors that are listed: of which silos and corpora, of what kind, at which elements, and why."""

    of: tuple[str, ...]
    kind: str
    path: re.Pattern[str]
    reason: str

    def takes(self, name: str, finding: Finding) -> bool:
        return name in self.of and finding.kind == self.kind and self.path.fullmatch(finding.path) is not None


@dataclass
class Judged:
    """A silo or a corpus, and what was said of each of its files."""

    name: str
    found: list[Summary]

    @property
    def resources(self) -> int:
        return sum(one.resources for one in self.found)

    @property
    def validated(self) -> int:
        return sum(one.validated for one in self.found)

    @property
    def errors(self) -> Counter[Finding]:
        return sum((one.errors for one in self.found), Counter[Finding]())

    def unlisted(self) -> dict[Finding, int]:
        """The errors that are not listed."""
        return {at: n for at, n in self.errors.items() if not any(one.takes(self.name, at) for one in known())}


@cache
def known() -> tuple[Known, ...]:
    """The errors that are listed."""
    declared = yaml.safe_load((ROOT / "tools/conformance.yaml").read_text(encoding="utf-8"))["errors"]
    return tuple(Known(tuple(one["of"]), one["kind"], re.compile(one["path"]), one["reason"]) for one in declared)


def converted(name: str, data: Path, folder: Path) -> Path:
    """A corpus as FHIR, a file a resource type; what is quarantined makes none."""
    where, kind, pattern = CORPORA[name]
    module = format_named(kind)
    lines: dict[str, list[str]] = defaultdict(list)
    for path in sorted((data / where).glob(pattern)):
        for record in module.records(path.read_bytes()):
            made = module.to_fhir(record, Options())
            for resource in [] if made.error else made.resources:
                lines[resource["resourceType"]].append(dumps(resource) + "\n")
    folder.mkdir(parents=True)
    for resource_type, of_type in lines.items():
        (folder / f"{resource_type}.ndjson").write_text("".join(of_type), encoding="utf-8")
    return folder


def judge(validator: Validator, name: str, folder: Path, size: int | None) -> Judged:
    """Validate a folder's files, or a sample of each."""
    return Judged(name, [one for path in files([folder]) if (one := summary(validator, path, size)).resources])


def judged(validator: Validator, lake: Lake, data: Path, size: int | None) -> Iterator[Judged]:
    """Every silo's silver, a sample of each type, and every corpus that is there, whole."""
    with tempfile.TemporaryDirectory() as scratch:
        for silo in load_catalog().silos:
            target = Path(scratch, silo)
            export(lake, target, silos=[silo])
            yield judge(validator, silo, target, size)
        for name, (where, *_) in CORPORA.items():
            if (data / where).is_dir():
                yield judge(validator, name, converted(name, data, Path(scratch, where)), None)


def table(found: Sequence[Judged]) -> list[str]:
    """The summary, as a Markdown table."""
    lines = ["| of | types | resources | validated | errors | listed |", "|---|---:|---:|---:|---:|---:|"]
    for one in found:
        errors, left = one.errors.total(), sum(one.unlisted().values())
        counts = (len(one.found), one.resources, one.validated, errors, errors - left)
        lines.append(f"| {one.name} | {' | '.join(f'{count:,}' for count in counts)} |")
    return lines


def page(found: Sequence[Judged]) -> str:
    """docs/conformance.md."""
    lines = [
        "# Conformance",
        "",
        "<!-- Written by `python -m tools.conformance LAKE`. -->",
        "",
        f"HAPI's FHIR validator ({VERSION}, base R4, offline) over each silo's silver as exported, a sample of up to",
        f"{SAMPLE} resources of each type, and over what `cohortlake convert` makes of the corpora, all of it.",
        "Hospital A came as FHIR; the others are mapped. `tests/acceptance/test_validator.py` holds them to this list.",
        "",
        *table(found),
        "",
        "## Errors that remain",
        "",
        "| of | message | element | times | why |",
        "|---|---|---|---:|---|",
    ]
    for one in found:
        for at, number in sorted(one.errors.items()):
            reason = next((k.reason for k in known() if k.takes(one.name, at)), "**not listed**")
            lines.append(f"| {one.name} | {at.kind} | `{at.path}` | {number:,} | {reason} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Judge a lake and the corpora, and write the page. Ends with 1 where an error is not listed."""
    if len(sys.argv) != 2 or not Path(sys.argv[1], "phi/silver").is_dir():
        sys.exit("usage: python -m tools.conformance LAKE, a lake that `cohortlake run` made")
    if VALIDATOR.missing():
        sys.exit("the validator is not here: python -m tools.fetch_validator")
    with Validator() as validator:
        found = list(judged(validator, Lake(Path(sys.argv[1])), DATA, SAMPLE))
    PAGE.write_text(page(found), encoding="utf-8")
    sys.stdout.write("\n".join(table(found)) + "\n")
    sys.exit(1 if any(one.unlisted() for one in found) else 0)


if __name__ == "__main__":
    main()
