"""The bundled files as plain DuckDB tables, one a subject, whatever the format: patients, encounters, conditions, ...

Read with DuckDB, csv, json and an XML parser alone. `shift` moves all of a patient's dates by days, for a lake whose
dates are shifted a person; it is 0 for raw dates.

| table | columns |
|---|---|
| patients | silo, patient, death, born (dates) |
| encounters | silo, patient, class, started, ended (timestamps, UTC) |
| conditions | silo, patient, code (SNOMED CT), known (the day on which it was on record) |
| results | silo, patient, code (LOINC), value (text), observed |
| orders | silo, patient, drug (words), ordered |
| vaccinations | silo, patient, code (CVX), given |
| procedures | silo, patient, code, display, done |
| claims | silo, patient, kind, claim_type, claim, day, billed, paid, drug_cost |
| lines | silo, claim_type, billed, paid |
| coverages | silo, patient, started, ended |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from tests.recount import documents

Shift = Callable[[str, str], int]
RIF_CLAIMS = {
    "carrier": ("professional", "NCH_CARR_CLM_SBMTD_CHRG_AMT", "LINE_SBMTD_CHRG_AMT", "LINE_NCH_PMT_AMT"),
    "dme": ("professional", "NCH_CARR_CLM_SBMTD_CHRG_AMT", "LINE_SBMTD_CHRG_AMT", "LINE_NCH_PMT_AMT"),
    **{
        kind: ("institutional", "CLM_TOT_CHRG_AMT", "REV_CNTR_TOT_CHRG_AMT", paid)
        for kind, paid in (
            ("inpatient", "NULL"),
            ("snf", "NULL"),
            ("outpatient", "REV_CNTR_PMT_AMT_AMT"),
            ("hha", "REV_CNTR_PMT_AMT_AMT"),
            ("hospice", "REV_CNTR_PMT_AMT_AMT"),
        )
    },
}
CPCDS_TYPES = {
    "inpatient-facility": "institutional",
    "outpatient-facility": "institutional",
    "professional-nonclinician": "professional",
    "pharmacy": "pharmacy",
}
# Hospital B's own words for classes.
CSV_CLASSES = {
    "ambulatory": "AMB", "outpatient": "AMB", "wellness": "AMB", "urgentcare": "AMB", "emergency": "EMER",
    "inpatient": "IMP", "snf": "IMP", "home": "HH", "hospice": "HH", "virtual": "VR",
}  # fmt: skip


def raw(data: Path, shift: Shift = lambda silo, patient: 0) -> duckdb.DuckDBPyConnection:
    """A connection with the tables above, made of the bundled files below `data`."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    _site_a(connection, data / "site_a_fhir_r4")
    _site_b(connection, data / "site_b_csv")
    documents.add(connection, data / "site_c_ccda_cpcds/ccda.zip")
    _site_c_claims(connection, data / "site_c_ccda_cpcds")
    _payer_d(connection, data / "payer_d_bfd_rif")
    _shifted(connection, shift)
    return connection


def _site_a(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """FHIR: each line a resource, of which the elements that are named are read."""
    code = "STRUCT(coding STRUCT(system VARCHAR, code VARCHAR, display VARCHAR)[])"
    reference, quantity = "STRUCT(reference VARCHAR)", "STRUCT(value VARCHAR)"
    period = 'STRUCT("start" TIMESTAMPTZ, "end" TIMESTAMPTZ)'

    def lines(resource: str, **elements: str) -> str:
        columns = ", ".join(
            f"{name}: '{kind}'" for name, kind in {"id": "VARCHAR", "status": "VARCHAR", **elements}.items()
        )
        return f"read_json('{folder}/{resource}.ndjson.gz', format = 'newline_delimited', columns = {{{columns}}})"

    def of(system: str, element: str = "code") -> str:
        return f"list_filter({element}.coding, lambda c: c.system = '{system}')[1].code"

    snomed, loinc, cvx = "http://snomed.info/sct", "http://loinc.org", "http://hl7.org/fhir/sid/cvx"
    silo, patient = "'site_a_fhir_r4' AS silo", "split_part(subject.reference, '/', -1) AS patient"
    people = lines("Patient", deceasedDateTime="VARCHAR", birthDate="DATE")
    visits = lines("Encounter", subject=reference, period=period, **{"class": "STRUCT(code VARCHAR)"})
    known = {"recordedDate": "TIMESTAMPTZ", "onsetDateTime": "TIMESTAMPTZ"}
    problems = lines("Condition", subject=reference, code=code, verificationStatus=code, **known)
    measured = {"category": f"{code}[]", "valueQuantity": quantity, "effectiveDateTime": "TIMESTAMPTZ"}
    observations = lines("Observation", subject=reference, code=code, **measured)
    given = lines("Immunization", patient=reference, vaccineCode=code, occurrenceDateTime="TIMESTAMPTZ")
    performed = {"performedPeriod": period, "performedDateTime": "TIMESTAMPTZ"}
    done = lines("Procedure", subject=reference, code=code, **performed)
    named = {"medicationCodeableConcept": code, "medicationReference": reference, "authoredOn": "TIMESTAMPTZ"}
    orders, drugs = lines("MedicationRequest", subject=reference, **named), lines("Medication", code=code)
    connection.execute(f"""
        CREATE TABLE patients AS SELECT {silo}, id AS patient, CAST(left(deceasedDateTime, 10) AS DATE) AS death,
            birthDate AS born FROM {people};
        CREATE TABLE encounters AS SELECT {silo}, {patient}, class.code AS class, period."start" AS started,
            period."end" AS ended
            FROM {visits} WHERE status IN ('arrived', 'triaged', 'in-progress', 'onleave', 'finished');
        CREATE TABLE conditions AS SELECT {silo}, {patient}, {of(snomed)} AS code,
            CAST(coalesce(recordedDate, onsetDateTime) AS DATE) AS known
            FROM {problems} WHERE coalesce(verificationStatus.coding[1].code, 'confirmed') = 'confirmed';
        CREATE TABLE results AS SELECT {silo}, {patient}, {of(loinc)} AS code, valueQuantity.value AS value,
            effectiveDateTime AS observed
            FROM {observations}
            WHERE status IN ('final', 'amended', 'corrected') AND category[1].coding[1].code = 'laboratory';
        CREATE TABLE vaccinations AS SELECT {silo}, split_part(patient.reference, '/', -1) AS patient,
            {of(cvx, "vaccineCode")} AS code, occurrenceDateTime AS given FROM {given} WHERE status = 'completed';
        CREATE TABLE procedures AS SELECT {silo}, {patient}, {of(snomed)} AS code, code.coding[1].display AS display,
            coalesce(performedPeriod."start", performedDateTime) AS done FROM {done} WHERE status = 'completed';
        CREATE TABLE orders AS SELECT {silo}, {patient},
            coalesce(medicationCodeableConcept.coding[1].display, drug.code.coding[1].display) AS drug,
            o.authoredOn AS ordered
            FROM {orders} o
            LEFT JOIN {drugs} drug ON drug.id = split_part(o.medicationReference.reference, '/', -1)
            WHERE o.status IN ('active', 'on-hold', 'completed', 'stopped');
    """)


def _site_b(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """CSV of the hospital's own tables. A row that is there twice is one fact, so rows are taken once."""

    def rows(name: str) -> str:
        return f"(SELECT DISTINCT * FROM read_csv('{folder / f'{name}.csv.gz'}', all_varchar = true))"

    classes = " ".join(f"WHEN '{theirs}' THEN '{code}'" for theirs, code in CSV_CLASSES.items())
    silo = "'site_b_csv'"
    connection.execute(f"""
        INSERT INTO patients SELECT {silo}, Id, CAST(DEATHDATE AS DATE), CAST(BIRTHDATE AS DATE)
            FROM {rows("patients")};
        INSERT INTO encounters SELECT {silo}, PATIENT, CASE ENCOUNTERCLASS {classes} ELSE 'other' END,
            CAST(START AS TIMESTAMPTZ), CAST(STOP AS TIMESTAMPTZ) FROM {rows("encounters")};
        INSERT INTO conditions SELECT {silo}, PATIENT, CODE, CAST(START AS DATE) FROM {rows("conditions")};
        INSERT INTO results SELECT {silo}, PATIENT, CODE, VALUE, CAST(DATE AS TIMESTAMPTZ)
            FROM {rows("observations")} WHERE CATEGORY = 'laboratory' AND TYPE = 'numeric';
        INSERT INTO vaccinations SELECT {silo}, PATIENT, CASE WHEN length(CODE) < 2 THEN '0' || CODE ELSE CODE END,
            CAST(DATE AS TIMESTAMPTZ) FROM {rows("immunizations")};
        INSERT INTO procedures SELECT {silo}, PATIENT, CODE, DESCRIPTION, CAST(START AS TIMESTAMPTZ)
            FROM {rows("procedures")};
        INSERT INTO orders SELECT {silo}, PATIENT, DESCRIPTION, CAST(START AS TIMESTAMPTZ) FROM {rows("medications")};
        CREATE TABLE coverages AS SELECT {silo} AS silo, PATIENT AS patient, CAST(START_DATE[:10] AS DATE) AS started,
            CAST(END_DATE[:10] AS DATE) AS ended
            FROM {rows("payer_transitions")} SEMI JOIN {rows("payers")} p ON p.Id = PAYER AND p.NAME <> 'NO_INSURANCE';
    """)


def _site_c_claims(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """CPCDS: a row is a line and repeats what is said of its claim."""
    types = " ".join(f"WHEN '{theirs}' THEN '{code}'" for theirs, code in CPCDS_TYPES.items())
    connection.execute(f"""
        INSERT INTO patients SELECT 'site_c_cpcds', "Member id", CAST("Date of death" AS DATE),
                CAST("Date of birth" AS DATE)
            FROM read_csv('{folder}/CPCDS_Members.csv.gz', all_varchar = true);
        CREATE TEMP TABLE cpcds AS SELECT *, CASE "Claim type" {types} END AS claim_type
            FROM read_csv('{folder}/CPCDS_Claims.csv.gz', all_varchar = true)
            WHERE "Claim processing status code" = 'active' AND "Claim frequency code" <> '8'
                AND "Claim adjusted to identifier" IS NULL
                AND "Claim payment status code" IN ('complete', 'paid', 'denied');
        CREATE TABLE claims AS SELECT 'site_c_cpcds' AS silo, "Patient account number" AS patient, 'cpcds' AS kind,
            claim_type, "Claim unique identifier" AS claim, CAST("Claim service start date" AS DATE) AS day,
            CAST("Claim total submitted amount" AS DECIMAL(18, 2)) AS billed,
            CAST("Claim payment amount" AS DECIMAL(18, 2)) AS paid,
            sum(CAST("Drug cost" AS DECIMAL(18, 2))) AS drug_cost
            FROM cpcds GROUP BY ALL;
        CREATE TABLE lines AS SELECT 'site_c_cpcds' AS silo, claim_type,
            CAST("Line submitted amount" AS DECIMAL(18, 2)) AS billed,
            CAST("Line payment amount" AS DECIMAL(18, 2)) AS paid FROM cpcds;
        INSERT INTO coverages SELECT 'site_c_cpcds', "Member id",
            CAST(nullif("Start date", '1970-01-01') AS DATE), CAST("End date" AS DATE)
            FROM read_csv('{folder}/CPCDS_Coverages.csv.gz', all_varchar = true);
    """)


def _payer_d(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """RIF: claims of Parts A and B by line, Part D by event, and a beneficiary's months of each part of Medicare."""

    def rows(name: str) -> str:
        return f"read_csv('{folder}/{name}.csv.gz', delim = '|', quote = '', all_varchar = true, union_by_name = true)"

    silo, money = "'payer_d_rif'", "DECIMAL(18, 2)"
    day = "CAST(strptime({}, '%d-%b-%Y') AS DATE)"
    connection.execute(f"""
        INSERT INTO patients SELECT {silo}, BENE_ID, max({day.format("DEATH_DT")}),
                max({day.format("BENE_BIRTH_DT")})
            FROM {rows("beneficiary_*")} GROUP BY BENE_ID;
        INSERT INTO claims SELECT {silo}, BENE_ID, 'pde', 'pharmacy', PDE_ID, {day.format("SRVC_DT")}, NULL,
            CAST(CVRD_D_PLAN_PD_AMT AS {money}), CAST(TOT_RX_CST_AMT AS {money})
            FROM {rows("pde")} WHERE DML_IND <> 'DELETE' AND FINAL_ACTION = 'F';
        INSERT INTO lines SELECT {silo}, 'pharmacy', NULL, CAST(CVRD_D_PLAN_PD_AMT AS {money})
            FROM {rows("pde")} WHERE DML_IND <> 'DELETE' AND FINAL_ACTION = 'F';
    """)
    for kind, (claim_type, charge, line_charge, line_paid) in RIF_CLAIMS.items():
        live = "DML_IND <> 'DELETE' AND FINAL_ACTION = 'F'"
        total_line = "REV_CNTR <> '0001'" if claim_type == "institutional" else "true"
        connection.execute(f"""
            INSERT INTO claims SELECT DISTINCT {silo}, BENE_ID, '{kind}', '{claim_type}', CLM_ID,
                {day.format("CLM_FROM_DT")}, CAST({charge} AS {money}), CAST(CLM_PMT_AMT AS {money}), NULL::{money}
                FROM {rows(kind)} WHERE {live};
            INSERT INTO lines SELECT {silo}, '{claim_type}', CAST({line_charge} AS {money}),
                CAST({line_paid} AS {money}) FROM {rows(kind)} WHERE {live} AND {total_line};
        """)
    part_ab = ", ".join(f"MDCR_ENTLMT_BUYIN_{month}_IND" for month in range(1, 13))
    names = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEPT", "OCT", "NOV", "DEC")
    contracts = {part: ", ".join(f"{part}_CNTRCT_{name}_ID" for name in names) for part in ("PTC", "PTD")}
    covered = (
        "coalesce(ab[m], '0') NOT IN ('0', '') OR coalesce(c[m], 'N') NOT IN ('N', '0', '00000', '')"
        " OR coalesce(d[m], 'N') NOT IN ('N', '0', '00000', '')"
    )
    connection.execute(f"""
        INSERT INTO coverages SELECT {silo}, BENE_ID, start, last_day(start) FROM (
            SELECT BENE_ID, make_date(CAST(RFRNC_YR AS INT), m, 1) AS start FROM (
                SELECT BENE_ID, RFRNC_YR, [{part_ab}] AS ab, [{contracts["PTC"]}] AS c, [{contracts["PTD"]}] AS d,
                    unnest(range(1, 13)) AS m FROM {rows("beneficiary_*")} WHERE DML_IND <> 'DELETE'
            ) WHERE {covered});
    """)


def _shifted(connection: duckdb.DuckDBPyConnection, shift: Shift) -> None:
    """Move every patient's dates by `shift` days. Months of coverage move as spans, not as months."""
    people = connection.execute("SELECT DISTINCT silo, patient FROM patients").fetchall()
    connection.execute("CREATE TABLE shifts (silo VARCHAR, patient VARCHAR, days INT)")
    connection.executemany("INSERT INTO shifts VALUES (?, ?, ?)", [(*who, shift(*who)) for who in people])
    dated = {
        "patients": ["death", "born"],
        "encounters": ["started", "ended"],
        "conditions": ["known"],
        "orders": ["ordered"],
        "results": ["observed"],
        "vaccinations": ["given"],
        "procedures": ["done"],
        "claims": ["day"],
        "coverages": ["started", "ended"],
    }
    for table, columns in dated.items():
        for column in columns:
            connection.execute(
                f'UPDATE {table} AS t SET "{column}" = "{column}" + to_days(s.days) FROM shifts s '
                "WHERE s.silo = t.silo AND s.patient = t.patient AND s.days <> 0"
            )
