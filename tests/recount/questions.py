"""The worked questions of docs/analysts.md, asked of the raw files: SQL over the tables of `tests.recount.raw`.

Each gives the columns and the order of the page's answer. Where gold has a rule (spans that touch are one), the recount
goes another way to the same number (it lists the days and counts them once).
"""

from __future__ import annotations

WINDOW = "BETWEEN DATE '2021-01-01' AND DATE '2025-12-31'"
STAYS = f"SELECT silo, patient, started, ended FROM encounters WHERE class = 'IMP' AND CAST(started AS DATE) {WINDOW}"
COVERED_DAYS = """
    SELECT DISTINCT silo, patient, unnest(generate_series(
        greatest(started, DATE '2021-01-01'),
        least(coalesce(ended, DATE '2025-12-31'), DATE '2025-12-31'),
        INTERVAL 1 DAY
    ))::DATE AS day
    FROM coverages
    WHERE started <= DATE '2025-12-31' AND coalesce(ended, DATE '2025-12-31') >= DATE '2021-01-01'
"""
DIABETES = "SELECT DISTINCT silo, patient FROM conditions WHERE code = '44054006'"
SEEN_2025 = "SELECT DISTINCT silo, patient FROM encounters WHERE year(started) = 2025"

RECOUNTS = {
    1: f"""
        SELECT p.silo, count(d.patient), count(*), round(100 * count(d.patient) / count(*), 1)
        FROM patients p LEFT JOIN ({DIABETES}) d USING (silo, patient)
        WHERE p.silo IN (SELECT silo FROM conditions) GROUP BY p.silo ORDER BY p.silo
    """,
    2: """
        SELECT silo, year(observed) AS year, count(*), round(avg(CAST(value AS DOUBLE)), 2)
        FROM results WHERE code = '4548-4' AND year(observed) BETWEEN 2021 AND 2025
        GROUP BY ALL ORDER BY ALL
    """,
    3: f"""
        WITH observed AS (
            SELECT silo, patient, greatest(min(CAST(started AS DATE)), DATE '2021-01-01') AS first,
                least(max(CAST(coalesce(ended, started) AS DATE)), DATE '2025-12-31') AS last
            FROM encounters GROUP BY silo, patient HAVING first <= last
        ), visits AS (
            SELECT silo, count(*) AS visits FROM encounters
            WHERE class = 'EMER' AND CAST(started AS DATE) {WINDOW} GROUP BY silo
        )
        SELECT silo, any_value(visits), round(sum(last - first + 1) / 365.25, 1),
            round(1000 * any_value(visits) / (sum(last - first + 1) / 365.25), 1)
        FROM observed LEFT JOIN visits USING (silo) GROUP BY silo ORDER BY silo
    """,
    4: f"""
        WITH stays AS ({STAYS})
        SELECT s.silo, count(*), count_if(EXISTS (
                SELECT 1 FROM stays n WHERE n.silo = s.silo AND n.patient = s.patient
                AND epoch(n.started) > epoch(s.ended) AND epoch(n.started) <= epoch(s.ended) + 30 * 86400
            )) AS again, round(100 * again / count(*), 1)
        FROM stays s WHERE s.ended IS NOT NULL GROUP BY s.silo ORDER BY s.silo
    """,
    5: """
        SELECT silo, claim_type, count(*), sum(billed), sum(paid), sum(drug_cost)
        FROM claims GROUP BY ALL ORDER BY silo, claim_type
    """,
    6: f"""
        WITH days AS ({COVERED_DAYS})
        SELECT d.silo, count(DISTINCT d.patient), round(count(*) / 365.25, 1),
            any_value(c.paid), round(any_value(c.paid) / (count(*) / 365.25), 2)
        FROM days d LEFT JOIN (
            SELECT silo, sum(paid) AS paid FROM claims SEMI JOIN days USING (silo, patient, day) GROUP BY silo
        ) c USING (silo) GROUP BY d.silo ORDER BY d.silo
    """,
    7: f"""
        SELECT d.silo, count(*), count(o.patient), round(100 * count(o.patient) / count(*), 1)
        FROM ({DIABETES}) d LEFT JOIN (
            SELECT DISTINCT silo, patient FROM orders WHERE lower(drug) LIKE '%metformin%'
        ) o USING (silo, patient) GROUP BY d.silo ORDER BY d.silo
    """,
    8: f"""
        SELECT s.silo, count(*), count(v.patient), round(100 * count(v.patient) / count(*), 1)
        FROM ({SEEN_2025}) s LEFT JOIN (
            SELECT DISTINCT silo, patient FROM vaccinations WHERE code = '140' AND year(given) = 2025
        ) v USING (silo, patient) GROUP BY s.silo ORDER BY s.silo
    """,
    9: """
        SELECT code, mode(display), count(DISTINCT (silo, patient)) AS patients, count(*)
        FROM procedures WHERE year(done) = 2025 GROUP BY code ORDER BY patients DESC, code LIMIT 5
    """,
    10: "SELECT silo, count(*), count(death), max(death) FROM patients GROUP BY silo ORDER BY silo",
    11: f"""
        SELECT d.silo, count(*), count_if(r.patient IS NULL) AS without, round(100 * without / count(*), 1)
        FROM ({DIABETES}) d SEMI JOIN ({SEEN_2025}) s USING (silo, patient) LEFT JOIN (
            SELECT DISTINCT silo, patient FROM results WHERE code = '4548-4' AND year(observed) = 2025
        ) r USING (silo, patient) GROUP BY d.silo ORDER BY d.silo
    """,
}
