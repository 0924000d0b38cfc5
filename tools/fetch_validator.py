"""Fetch HAPI's FHIR validator once through Spark's own Ivy, check it against tools/validator.sha256, keep it in
.jars-validator/. See `tools/validate_fhir.py` for its use.

    python -m tools.fetch_validator
"""

from __future__ import annotations

from tools.fetch_jars import ROOT, Jars, fetch

VERSION = "8.4.0"
ARTIFACTS = (
    "hapi-fhir-validation",
    "hapi-fhir-structures-r4",
    "hapi-fhir-validation-resources-r4",
    "hapi-fhir-caching-caffeine",
)
VALIDATOR = Jars(
    what="validator",
    folder=ROOT / ".jars-validator",
    hashes=ROOT / "tools/validator.sha256",
    packages=tuple(f"ca.uhn.hapi.fhir:{artifact}:{VERSION}" for artifact in ARTIFACTS),
    excluded=(),
)

if __name__ == "__main__":
    fetch(VALIDATOR)
