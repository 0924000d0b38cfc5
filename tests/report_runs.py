"""Run records made by hand, as the steps write them, with the counts of the bundled hospitals."""

from __future__ import annotations

from typing import Any

from cohortlake.core.lake import Lake
from spark_jobs import quarantine
from tests.report_records import Record, RunMaker, book, write_json

FHIR, CSV, COHORT = "site_a_fhir_r4", "site_b_csv", "type2_diabetes"
FHIR_ROWS = {
    "AllergyIntolerance": 165, "CarePlan": 357, "CareTeam": 357, "Claim": 9214, "Condition": 3408, "Device": 535,
    "DiagnosticReport": 9738, "DocumentReference": 5201, "Encounter": 5201, "ImagingStudy": 303, "Immunization": 1174,
    "Location": 362, "Medication": 946, "MedicationAdministration": 946, "MedicationRequest": 4013,
    "Observation": 40477, "Organization": 361, "Patient": 144, "Practitioner": 361, "PractitionerRole": 361,
    "Procedure": 12547, "SupplyDelivery": 2347,
}  # fmt: skip
CSV_ROWS = {
    "allergies": 106, "careplans": 254, "claims": 5443, "claims_transactions": 48330, "conditions": 2273,
    "devices": 331, "encounters": 3534, "imaging_studies": 181, "immunizations": 1100, "medications": 1909,
    "observations": 32824, "organizations": 441, "patients": 136, "payer_transitions": 801, "payers": 10,
    "procedures": 7772, "providers": 441, "supplies": 1304,
}  # fmt: skip
MAPPED = {
    "allergies": "AllergyIntolerance", "careplans": "CarePlan", "claims": "Claim", "conditions": "Condition",
    "devices": "Device", "encounters": "Encounter", "imaging_studies": "ImagingStudy", "immunizations": "Immunization",
    "medications": "MedicationRequest", "observations": "Observation", "organizations": "Organization",
    "patients": "Patient", "payers": "Organization.payer", "procedures": "Procedure", "providers": "Practitioner",
}  # fmt: skip
GOLD_ROWS = {
    "allergies": 271, "claim_items": 73211, "claims": 14657, "conditions": 5681, "drugs": 946, "encounters": 8735,
    "immunizations": 2274, "laboratory_results": 39120, "medication_orders": 5922, "medications": 6868,
    "patients": 280, "procedures": 20319, "social_history": 2911, "utilisation": 1340, "vital_signs": 22460,
}  # fmt: skip


def checks(scope: str, failing: dict[str, tuple[Any, ...]]) -> Record:
    """A gate's facts: 40 checks that all rows pass, and the failing (table, kind, severity, failed, rows, percent).

    With a seventh value it is a check of a fact, and that is what was found.
    """
    kinds, severities = ("conformance", "completeness", "plausibility"), ("fail", "quarantine", "warn")
    listed = [
        {"table": "Patient", "name": f"Patient check {n}", "kind": kinds[n % 3], "rows": 144, "failed": 0}
        | {"severity": severities[n % 2 + n % 5 // 4]}
        for n in range(40)
    ]
    for name, (table, kind, severity, failed, rows, percent, *found) in failing.items():
        told = {"table": table, "name": name, "kind": kind, "severity": severity, "rows": rows, "failed": failed}
        listed.append({**told, "percent": percent} | ({"found": found[0]} if found else {}))
    return {"batch": f"{scope}-000001", "checks": listed}


def land(run: RunMaker, silo: str, rows: dict[str, int], held: dict[str, int], **more: Any) -> None:
    """A silo's files, each a feed."""
    feeds = {
        name: {"files": 1, "rows": number - held.get(name, 0), "quarantined": held.get(name, 0), "extra_columns": {}}
        for name, number in rows.items()
    }
    facts = {"files": len(rows), "files_known": 0, "files_new": len(rows), "bytes": 17_400_000, "feeds": feeds}
    facts |= {"batch": f"{silo}-000001", "empty_files": [], "files_deferred": [], "files_rejected": {}} | more
    books = [book(f"bronze.{name}", number, held=held.get(name, 0)) for name, number in rows.items()]
    whole = len(facts["files_rejected"])
    run.step(f"land.{silo}", "ingest", 6.4, books + ([book("files", whole, held=whole)] if whole else []), facts)


def silver_rows(rows: dict[str, int], silo: str) -> dict[str, int]:
    """A silo's records by the name of their book in `standardise`."""
    if silo == FHIR:
        return rows
    return {MAPPED.get(feed, f"bronze.{feed}"): number for feed, number in rows.items()}


def fhir_silo(run: RunMaker, land_held: int = 0, held: int = 0, gated: int = 0, older: int = 0) -> None:
    """The FHIR silo from its files to silver; what is held are observations."""
    land(run, FHIR, FHIR_ROWS, {"Observation": land_held})
    through = FHIR_ROWS | {"Observation": FHIR_ROWS["Observation"] - land_held}
    unexpected = {"Patient": {"extension[].valueCodeableConcept": 12}, "Observation": {"hasMember[].display": 831}}
    facts = {"batch": f"{FHIR}-000001", "feeds": through, "replayed": 0, "unexpected": unexpected if held else {}}
    books = [book(name, rows, held=held if name == "Observation" else 0) for name, rows in through.items()]
    run.step(f"standardise.{FHIR}", "ingest", 38.2, books, facts | {"unmapped": {}, "not_mapped": {}})
    through = through | {"Observation": through["Observation"] - held}
    failing = {
        "Observation body weight (29463-7, kg) is possible": (
            "Observation",
            "plausibility",
            "quarantine",
            gated,
            40_456,
            2.381,
        ),
        "Encounter.period is ordered": ("Encounter", "plausibility", "warn", 3, 5201, 0.058),
        f"{FHIR} is fresh": ("delivery", "completeness", "warn", 1, 1, 100.0, 326),
    }
    books = [book(name, rows, held=gated if name == "Observation" else 0) for name, rows in through.items()]
    run.step(f"gate.{FHIR}", "ingest", 41.7, books, checks(FHIR, failing if gated else {}))
    through = through | {"Observation": through["Observation"] - gated}
    books = [book(name, rows, older=older if name == "Encounter" else 0) for name, rows in through.items()]
    run.step(f"publish.{FHIR}", "ingest", 9.3, books, {"batch": f"{FHIR}-000001", "released": 0})


def csv_silo(run: RunMaker, land_held: int = 0, unmapped: Record | None = None, error: Record | None = None) -> None:
    """The CSV silo from its files to silver; with an error, its gate fails."""
    more = {"files_rejected": {"conditions_2026-11.csv.gz": "land: truncated gzip"}} if land_held else {}
    land(run, CSV, CSV_ROWS, {"claims_transactions": land_held}, **more)
    through = silver_rows(CSV_ROWS | {"claims_transactions": CSV_ROWS["claims_transactions"] - land_held}, CSV)
    not_mapped = {"payer_transitions": 801, "supplies": 1304}
    facts = {"batch": f"{CSV}-000001", "unexpected": {}, "unmapped": unmapped or {}, "not_mapped": not_mapped}
    facts["unmapped_codes"] = {"gender": 2, "ucum": 1} if unmapped else {}
    facts["mapped"] = {"panels 1.0.0": 41} if unmapped else {}
    books = [book(name, rows) for name, rows in through.items() if name != "bronze.claims_transactions"]
    run.step(f"standardise.{CSV}", "ingest", 52.9, books, facts)
    failing = {"Patient.id is unique": ("Patient", "conformance", "fail", 2, 136, 1.471)} if error else {}
    resources: dict[str, int] = {}
    for name, rows in through.items():
        if not name.startswith("bronze."):
            kind = name.partition(".")[0]
            resources[kind] = resources.get(kind, 0) + rows
    books = [book(name, rows) for name, rows in resources.items()]
    judged = checks(CSV, failing)
    run.step(f"gate.{CSV}", "ingest", 30.1, [] if error else books, {} if error else judged, error)
    if error:
        verdict = {"run_id": run.run_id, "status": "failed", "tables": {"Patient": {"checks": judged["checks"]}}}
        write_json(run.lake.staging("phi", CSV) / "_verdict.json", verdict)
    else:
        run.step(f"publish.{CSV}", "ingest", 7.8, books, {"batch": f"{CSV}-000001", "released": 0})


def gold(run: RunMaker) -> None:
    """Silver to gold."""
    books = [book(f"gold.{name}", rows) for name, rows in GOLD_ROWS.items()]
    run.step("curate.gold", "curate", 44.0, books, {"made_from": {}, "silver_rows": FHIR_ROWS})
    run.step("gate.gold", "curate", 21.5, books, checks("gold", {}))
    run.step("publish.gold", "curate", 2.1, books, {})


def counts(rows: int, persons: int, events: int) -> Record:
    return {"rows": rows, "persons": persons, "events": events, "prevalence": round(events / rows, 4)}


def training(run: RunMaker, made: int = 24) -> None:
    """A cohort, drawn, augmented and released; with `made` 0 its synthetic rows are withheld."""
    texts = [
        ("candidates", "every candidate", 1120, 280),
        ("inclusion", "18 years or older at the index date", 924, 231),
        ("inclusion", "type 2 diabetes, or a complication named as due to it, on record at the index date", 178, 49),
        ("inclusion", "at least one encounter in the year before the index date (under care here)", 161, 47),
        ("exclusion", "type 1, gestational, secondary or drug-induced diabetes on record at the index date", 152, 45),
        ("exclusion", "in hospital on the index date (the outcome would be under way)", 151, 45),
    ]
    strata = {"hispanic": counts(36, 11, 14), "non-hispanic white": counts(91, 27, 30)}
    strata["non-hispanic other"] = counts(24, 7, 6)
    cells = [("train", 20, 60, 15), ("validation", 9, 18, 5), ("test", 7, 13, 4)]
    facts = {
        "cohort": COHORT,
        "attrition": [
            {"kind": kind, "criterion": text, "rows": rows, "persons": persons}
            | {"silos": {FHIR: rows // 2, CSV: rows - rows // 2}}
            for kind, text, rows, persons in texts
        ],
        "counts": counts(151, 45, 50),
        "by_split": {"test": counts(24, 8, 7), "train": counts(95, 27, 33), "validation": counts(32, 10, 10)},
        "by_silo": {FHIR: counts(82, 24, 29), CSV: counts(69, 21, 21)},
        "by_stratum": strata,
        "by_split_and_stratum": [
            {"split": split, "stratum": stratum, **counts(rows, 1 + rows // 4, rows // 3)}
            for split, *numbers in cells
            for stratum, rows in zip(strata, numbers, strict=True)
        ],
        "missing": {"age_years": 0, "hba1c_percent": 7, "ldl_mg_per_dl": 21, "egfr_ml_per_min": 64, "has_insulin": 0},
    }
    books = [book(f"cohort.{COHORT}", 1120, deleted=1120 - 151)]
    run.step(f"cohort.{COHORT}", "training", 12.6, books, facts)
    books = [book(f"synthetic.{COHORT}", 72, deleted=72 - made)]
    run.step(f"augment.{COHORT}", "training", 9.9, books, synthetic(made))
    rows = {"train": 95 + made, "validation": 32, "test": 24}
    facts = {"version": "1.0.0-3fa2c1d9", "is_new": True, "rows": rows, "synthetic_rows": made}
    run.step(f"release.{COHORT}", "training", 0.8, [book(f"release.{COHORT}", 151 + made)], facts)


def plot(feature: str, labels: str, real: list[int], made: list[int]) -> Record:
    return {"feature": feature, "labels": labels.split(), "real": real, "synthetic": made}


def synthetic(made: int) -> Record:
    """The facts of `augment`."""
    overall = {
        "rows": 32, "persons": 10, "events": 10, "verdict": "inconclusive",
        "auroc": {
            "real": 0.7136, "augmented": 0.7318, "difference": 0.0182, "interval": [-0.0461, 0.0905],
            "verdict": "inconclusive",
        },
        "brier": {
            "real": 0.2011, "augmented": 0.1962, "difference": -0.0049, "interval": [-0.0133, -0.0004],
            "verdict": "helps",
        },
    }  # fmt: skip
    why = "3 persons with the outcome and 2 without, of at least 10 each"
    checks = [
        {"check": "evidence", "outcome": "holds", "text": "24 persons with outcome of at least 20", "numbers": {}},
        {"check": "likeness", "outcome": "holds", "text": "column_shapes 0.87", "numbers": {}}
        if made
        else {"check": "likeness", "outcome": "refused", "text": "column_shapes 0.61 < 0.75", "numbers": {}},
    ]
    left = [] if made else ["lift", "column-permuted"]
    return {
        "made": made, "training_rows_by_stratum": {"hispanic": 20, "non-hispanic other": 15, "non-hispanic white": 60},
        "stratum": "hispanic", "real_rows": 20, "real_persons": 6, "sampled": 72, "wanted": 24,
        "dropped": {"breaks: diastolic_mmhg < systolic_mmhg": 2, "outside the stratum": 1},
        "scores": {
            "column_shapes": 0.8712, "column_pair_trends": 0.7421, "new_rows": 1.0, "closer_to_training": 0.54,
            "real_holdout": {"column_shapes": 0.8333, "column_pair_trends": 0.7011}, "holdout_rows": 9,
        },
        "lift": {
            "overall": overall,
            "stratum": {"rows": 9, "persons": 5, "events": 4, "verdict": "inconclusive", "why": why},
        },
        "proof": {"verdict": "accepted" if made else "refused", "why": "", "checks": checks, "not_asked": left},
        "comparators": {"random forest": {"stratum": 0.7011, "overall": 0.7136}},
        "redraws": 24,
        "distributions": [
            plot("hba1c_percent", "4 5 6 7 8 9 10", [0, 2, 5, 7, 4, 2, 0], [1, 2, 6, 8, 4, 2, 1]),
            plot("age_years", "30 40 50 60 70 80", [1, 3, 6, 6, 3, 1], [1, 4, 8, 7, 3, 1]),
            plot("smoking", "never former current", [12, 6, 2], [16, 7, 1]),
        ],
    } | ({} if made else {"why": "withheld: column_shapes 0.61 < 0.75"})  # fmt: skip


def hold(
    lake: Lake, run_id: str, silo: str, step: str, feed: str, reasons: list[str], number: int, start: int = 0
) -> None:
    """Put records into quarantine, with ids and payloads that no report may show."""
    quarantine.hold(
        lake,
        [
            {
                "silo": silo, "step": step, "batch": f"{silo}-000001", "run_id": run_id, "feed": feed,
                "resource_type": feed if feed[0].isupper() else "", "resource_id": f"SECRET-ID-{start + index}",
                "file": f"{feed}.ndjson.gz", "file_hash": "ab" * 32, "offset": start + index, "reasons": reasons,
                "detail": "SECRET-DETAIL", "payload": b"SECRET-PAYLOAD",
            }
            for index in range(number)
        ],
    )  # fmt: skip


def good_run(lake: Lake) -> str:
    """Both silos, gold and a training set, nothing rejected."""
    run = RunMaker(lake)
    fhir_silo(run)
    csv_silo(run)
    gold(run)
    training(run)
    return run.end()


def faulty_run(lake: Lake) -> str:
    """Records rejected by every step, unmapped codes, unexpected fields, older versions; synthetic rows withheld."""
    run = RunMaker(lake)
    fhir_silo(run, land_held=4, held=17, gated=62, older=1203)
    csv_silo(run, land_held=9, unmapped={"gender": 15, "ucum": 1728})
    gold(run)
    training(run, made=0)
    hold(lake, run.run_id, FHIR, "land", "Observation", ["land: not UTF-8"], 2)
    hold(lake, run.run_id, FHIR, "land", "Observation", ["land: not UTF-8"], 2, 10)
    hold(lake, run.run_id, FHIR, "standardise", "Observation", ["standardise: type"], 17, 100)
    failed = ["Observation body weight (29463-7, kg) is possible", "Observation.effectiveDateTime is not before birth"]
    hold(lake, run.run_id, FHIR, "gate", "Observation", failed, 62, 200)
    hold(lake, run.run_id, CSV, "land", "claims_transactions", ["land: record too long"], 9, 300)
    hold(lake, "20261101T020000000Z", CSV, "standardise", "conditions", ["standardise: required column"], 5, 400)
    return run.end()


def failed_run(lake: Lake) -> str:
    """The CSV silo's gate fails, the other goes through; the cohort meets an error that quotes a row."""
    run = RunMaker(lake)
    fhir_silo(run)
    message = f"{CSV}: 2 rows fail Patient.id is unique: nothing of this batch was published"
    hint = "See Data Docs for the check; mend the source, then run again."
    csv_silo(run, error={"class": "GateFailedError", "message": message, "hint": hint})
    gold(run)
    error = {"class": "NumberFormatException", "message": "The value 'SECRET-VALUE' cannot be cast to INT", "hint": ""}
    run.step(f"cohort.{COHORT}", "training", 1.2, error=error)
    return run.end()


def idle_run(lake: Lake) -> str:
    """A second run over the same files."""
    run = RunMaker(lake, "20261124T020000000Z")
    for silo, rows in ((FHIR, FHIR_ROWS), (CSV, CSV_ROWS)):
        known = {"files": len(rows), "files_known": len(rows), "files_new": 0, "bytes": 0}
        run.step(f"land.{silo}", "ingest", 0.4, facts=known)
        for kind in ("standardise", "gate", "publish"):
            run.step(f"{kind}.{silo}", "ingest", 0.1, facts={"batch": None})
    for kind in ("curate", "gate", "publish"):
        run.step(f"{kind}.gold", "curate", 0.1, facts={"unchanged": True})
    for kind in ("cohort", "augment", "release"):
        run.step(f"{kind}.{COHORT}", "training", 0.1, facts={"unchanged": True, "version": "1.0.0-3fa2c1d9"})
    return run.end()
