-- Each source is reduced to (patient, year, what, kind, amount) before they meet: joined, they would multiply rows.
WITH activity AS (
  SELECT
    patient_key,
    silo,
    year(started_at) AS year,
    'encounter' AS what,
    -- Null where the class is none, or not one of v3-ActEncounterCode: what kind of visit it was cannot be told.
    CASE
      WHEN class_code = 'AMB' THEN 'ambulatory'
      WHEN class_code = 'EMER' THEN 'emergency'
      WHEN class_code IN ('IMP', 'ACUTE', 'NONAC') THEN 'inpatient'
      WHEN class_code = 'HH' THEN 'home_health'
      WHEN class_code = 'VR' THEN 'virtual'
      WHEN class_code IN ('FLD', 'OBSENC', 'PRENC', 'SS') THEN 'other encounter'
    END AS kind,
    -- Days of a stay. `greatest` takes no notice of a null, so a stay without an end is kept from it.
    CASE
      WHEN class_code IN ('IMP', 'ACUTE', 'NONAC') AND ended_at IS NOT NULL
        THEN greatest(1, datediff(to_date(ended_at), to_date(started_at)))
    END AS amount
  FROM encounters
  WHERE is_counted
  UNION ALL
  SELECT patient_key, silo, year(started_at), 'procedure', NULL, NULL
  FROM procedures
  WHERE is_counted
  UNION ALL
  SELECT patient_key, silo, year(ordered_at), 'order', NULL, NULL
  FROM medications
  WHERE is_counted
  UNION ALL
  SELECT patient_key, silo, year(observed_at), 'result', NULL, NULL
  FROM laboratory_results
  WHERE is_counted
  UNION ALL
  SELECT patient_key, silo, year(coalesce(billable_started_at, created_at)), 'claim', NULL, total_amount
  FROM claims
  WHERE is_counted AND currency_code = 'USD'
),

-- The silo is the patient's: a fact may have come by another door of the same hospital.
owned AS (
  SELECT a.*, coalesce(p.silo, a.silo) AS home
  FROM activity AS a
  LEFT JOIN patients AS p USING (patient_key)
),

-- What a silo tells of a year: none of a kind for all of its patients is not told from a kind that it does not send.
told AS (
  SELECT home, year, collect_set(what) AS kinds
  FROM owned
  WHERE year IS NOT NULL
  GROUP BY home, year
),

-- What of a patient has no date: it may belong to any year.
undated AS (
  SELECT patient_key, collect_set(what) AS kinds
  FROM owned
  WHERE year IS NULL
  GROUP BY patient_key
),

counted AS (
  SELECT
    patient_key,
    min(home) AS silo,
    year,
    count_if(what = 'encounter') AS encounters,
    count_if(kind = 'ambulatory') AS ambulatory,
    count_if(kind = 'emergency') AS emergency,
    count_if(kind = 'inpatient') AS inpatient,
    count_if(kind = 'home_health') AS home_health,
    count_if(kind = 'virtual') AS virtual,
    coalesce(sum(amount) FILTER (WHERE kind = 'inpatient'), 0) AS days,
    count_if(what = 'procedure') AS procedures,
    count_if(what = 'order') AS orders,
    count_if(what = 'result') AS results,
    coalesce(sum(amount) FILTER (WHERE what = 'claim'), 0) AS dollars,
    count_if(what = 'encounter' AND kind IS NULL) = 0 AS has_classes,
    count_if(kind = 'inpatient' AND amount IS NULL) = 0 AS has_ends,
    count_if(what = 'claim' AND amount IS NULL) = 0 AS has_amounts
  FROM owned
  WHERE year IS NOT NULL
  GROUP BY patient_key, year
),

-- The kinds of records of which a patient's year is known to be whole.
known AS (
  SELECT c.*, CASE WHEN u.kinds IS NULL THEN t.kinds ELSE array_except(t.kinds, u.kinds) END AS kinds
  FROM counted AS c
  JOIN told AS t ON t.home = c.silo AND t.year = c.year
  LEFT JOIN undated AS u ON u.patient_key = c.patient_key
)

SELECT
  patient_key,
  silo,
  year,
  CASE WHEN array_contains(kinds, 'encounter') THEN encounters END AS encounter_count,
  CASE WHEN array_contains(kinds, 'encounter') AND has_classes THEN ambulatory END AS ambulatory_count,
  CASE WHEN array_contains(kinds, 'encounter') AND has_classes THEN emergency END AS emergency_count,
  CASE WHEN array_contains(kinds, 'encounter') AND has_classes THEN inpatient END AS inpatient_count,
  CASE WHEN array_contains(kinds, 'encounter') AND has_classes THEN home_health END AS home_health_count,
  CASE WHEN array_contains(kinds, 'encounter') AND has_classes THEN virtual END AS virtual_count,
  CAST(CASE WHEN array_contains(kinds, 'encounter') AND has_classes AND has_ends THEN days END AS BIGINT)
    AS inpatient_days,
  CASE WHEN array_contains(kinds, 'procedure') THEN procedures END AS procedure_count,
  CASE WHEN array_contains(kinds, 'order') THEN orders END AS medication_order_count,
  CASE WHEN array_contains(kinds, 'result') THEN results END AS laboratory_result_count,
  CAST(CASE WHEN array_contains(kinds, 'claim') AND has_amounts THEN dollars END AS DECIMAL(18, 2)) AS claims_total_usd
FROM known
