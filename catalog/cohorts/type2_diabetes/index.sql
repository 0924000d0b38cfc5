-- A candidate is a person of a silo on a 1 January (landmark): a date that nothing in the record chooses. An index date
-- at a visit would pick busy days and busy people; one that asks for later visits would look into the future.
-- Outcome windows of a person's landmarks do not overlap.
WITH observed AS (
  SELECT silo, max(to_date(started_at)) AS until_date
  FROM encounters
  WHERE is_counted
  GROUP BY silo
),

landmarks AS (
  SELECT silo, until_date, make_date(year(until_date) - years_back, 1, 1) AS index_date
  FROM observed
  CROSS JOIN (VALUES (0), (1), (2), (3), (4)) AS back (years_back)
),

candidates AS (
  SELECT p.patient_key, p.silo, p.birth_date, l.index_date, l.until_date
  FROM patients AS p
  JOIN landmarks AS l ON l.silo = p.silo
),

diagnoses AS (
  SELECT
    c.patient_key,
    c.index_date,
    -- Type 2, or a complication whose code names type 2 as its cause. Prediabetes (15777000, 714628002) is neither, nor
    -- is kidney disease due to diabetes of a type that is not told (127013003).
    bool_or(d.condition_code IN (
      '44054006', '90781000119102', '157141000119108', '368581000119106', '422034002', '1551000119108', '1501000119109'
    )) AS has_type2,
    -- Type 1, gestational, secondary, drug-induced.
    bool_or(d.condition_code IN ('46635009', '11687002', '8801005', '5368009')) AS has_other_type
  FROM candidates AS c
  JOIN conditions AS d ON d.patient_key = c.patient_key
  WHERE coalesce(d.recorded_date, d.onset_date) <= c.index_date
    AND d.is_counted
  GROUP BY c.patient_key, c.index_date
),

visits AS (
  SELECT
    c.patient_key,
    c.index_date,
    bool_or(to_date(e.started_at) > c.index_date - 365) AS has_visit,
    bool_or(e.class_code IN ('IMP', 'ACUTE', 'NONAC') AND to_date(e.ended_at) > c.index_date) AS is_in_hospital
  FROM candidates AS c
  JOIN encounters AS e ON e.patient_key = c.patient_key AND e.is_counted
  WHERE to_date(e.started_at) <= c.index_date
  GROUP BY c.patient_key, c.index_date
)

SELECT
  c.patient_key,
  c.silo,
  c.index_date,
  add_months(c.birth_date, 18 * 12) <= c.index_date AS in_1,
  d.has_type2 AS in_2,
  -- Hospitals export five years; what is older is only what is still active, and would make counts of a year too low.
  -- Two weeks of grace here and below: the last visit of an extract is earlier than its day.
  add_months(c.until_date, -5 * 12) - 14 <= c.index_date - 365 AS in_3,
  v.has_visit AS in_4,
  c.until_date + 14 >= c.index_date + 365 AS in_5,
  d.has_other_type AS out_1,
  v.is_in_hospital AS out_2
FROM candidates AS c
LEFT JOIN diagnoses AS d ON d.patient_key = c.patient_key AND d.index_date = c.index_date
LEFT JOIN visits AS v ON v.patient_key = c.patient_key AND v.index_date = c.index_date
