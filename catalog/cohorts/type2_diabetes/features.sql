-- What was known at the end of the index date. A record counts from the day that it was on record (issued, recorded),
-- not only from the day that it is true of. Of the status of an order or diagnosis only whether it counts is asked: that
-- one was stopped or is over is known as of the extract, not as of the index date.
WITH measurements AS (
  SELECT patient_key, laboratory_result_key AS record_key, laboratory_code AS code, standard_value AS value,
    standard_comparator AS comparator, observed_at, greatest(observed_at, issued_at) AS known_at
  FROM laboratory_results
  WHERE is_counted
  UNION ALL
  SELECT patient_key, vital_sign_key, vital_sign_code, standard_value, standard_comparator, observed_at,
    greatest(observed_at, issued_at)
  FROM vital_signs
  WHERE is_counted
),

-- The latest of each; the key decides between two at the same moment, so that a run gives what the last one gave. Where
-- the latest is a bound (<20), the value is not known: neither 20 nor an older value is put in its place.
latest AS (
  SELECT i.patient_key, i.index_date, m.code,
    max_by(CASE WHEN m.comparator IS NULL THEN m.value END, struct(m.observed_at, m.record_key)) AS value,
    datediff(i.index_date, to_date(max(m.observed_at))) AS days_since
  FROM cohort_index AS i
  JOIN measurements AS m ON m.patient_key = i.patient_key AND to_date(m.known_at) <= i.index_date
  WHERE m.value IS NOT NULL
  GROUP BY i.patient_key, i.index_date, m.code
),

findings AS (
  SELECT
    patient_key,
    index_date,
    max(value) FILTER (WHERE code = '4548-4') AS hba1c_percent,
    max(days_since) FILTER (WHERE code = '4548-4') AS days_since_hba1c,
    max(value) FILTER (WHERE code = '39156-5') AS bmi_kg_per_m2,
    max(value) FILTER (WHERE code = '8480-6') AS systolic_mmhg,
    max(value) FILTER (WHERE code = '8462-4') AS diastolic_mmhg,
    -- In serum, else in blood.
    coalesce(
      max(value) FILTER (WHERE code = '2160-0'), max(value) FILTER (WHERE code = '38483-4')
    ) AS creatinine_mg_per_dl,
    max(value) FILTER (WHERE code = '33914-3') AS egfr_ml_per_min,
    max(value) FILTER (WHERE code = '18262-6') AS ldl_mg_per_dl
  FROM latest
  GROUP BY patient_key, index_date
),

visits AS (
  SELECT
    i.patient_key,
    i.index_date,
    count(*) AS encounters_prior_year,
    count_if(e.class_code = 'EMER') AS emergency_visits_prior_year,
    count_if(e.class_code IN ('IMP', 'ACUTE', 'NONAC')) AS inpatient_stays_prior_year
  FROM cohort_index AS i
  JOIN encounters AS e
    ON e.patient_key = i.patient_key
    AND e.is_counted
    AND to_date(e.started_at) > i.index_date - 365
    AND to_date(e.started_at) <= i.index_date
  GROUP BY i.patient_key, i.index_date
),

-- Not every source says when an order ended. Lasting ones are written anew at the yearly visit, often some weeks late:
-- hence 400 days. Drugs are told by RxNorm's words, for it has a code a strength and form.
orders AS (
  SELECT
    i.patient_key,
    i.index_date,
    count(DISTINCT coalesce(m.medication_code, m.source_code)) AS medications_prior_400_days,
    bool_or(m.medication_display ILIKE '%metformin%') AS has_metformin,
    bool_or(m.medication_display ILIKE '%insulin%') AS has_insulin
  FROM cohort_index AS i
  JOIN medications AS m
    ON m.patient_key = i.patient_key
    AND m.is_counted
    AND to_date(m.ordered_at) > i.index_date - 400
    AND to_date(m.ordered_at) <= i.index_date
  GROUP BY i.patient_key, i.index_date
),

-- Chronic disease, SNOMED CT. A diagnosis that ended before the index date still counts: it has been.
diagnoses AS (
  SELECT
    i.patient_key,
    i.index_date,
    datediff(i.index_date, min(least(d.onset_date, d.recorded_date)) FILTER (WHERE d.condition_code IN (
      '44054006', '90781000119102', '157141000119108', '368581000119106', '422034002', '1551000119108', '1501000119109'
    ))) AS days_since_diagnosis,
    bool_or(d.condition_code IN ('59621000', '38341003')) AS has_hypertension,
    bool_or(d.condition_code IN ('55822004', '302870006')) AS has_hyperlipidemia,
    bool_or(d.condition_code IN (
      '431855005', '431856006', '433144002', '431857002', '433146000', '46177005', '709044004', '127013003'
    )) AS has_chronic_kidney_disease,
    -- Ischemic heart disease, infarction and bypass; heart failure; atrial fibrillation; stroke.
    bool_or(d.condition_code IN (
      '414545008', '53741008', '22298006', '399211009', '399261000', '401303003', '401314000',
      '88805009', '84114007', '42343007', '49436004', '230690007'
    )) AS has_cardiovascular_disease,
    bool_or(d.condition_code IN ('422034002', '1551000119108', '1501000119109')) AS has_retinopathy,
    bool_or(d.condition_code = '368581000119106') AS has_neuropathy,
    bool_or(d.condition_code = '271737000') AS has_anemia
  FROM cohort_index AS i
  JOIN conditions AS d
    ON d.patient_key = i.patient_key
    AND coalesce(d.recorded_date, d.onset_date) <= i.index_date
    AND d.is_counted
  GROUP BY i.patient_key, i.index_date
),

smoking AS (
  SELECT i.patient_key, i.index_date, max_by(s.finding_code, struct(s.observed_at, s.social_history_key)) AS finding_code
  FROM cohort_index AS i
  JOIN social_history AS s
    ON s.patient_key = i.patient_key AND to_date(greatest(s.observed_at, s.issued_at)) <= i.index_date
  WHERE s.is_counted AND s.observation_code = '72166-2' AND s.finding_code IS NOT NULL
  GROUP BY i.patient_key, i.index_date
)

SELECT
  i.patient_key,
  i.silo,
  i.index_date,
  CAST(floor(months_between(i.index_date, p.birth_date) / 12) AS INT) AS age_years,
  p.gender,
  CASE p.race_code
    WHEN '1002-5' THEN 'american indian or alaska native'
    WHEN '2028-9' THEN 'asian'
    WHEN '2054-5' THEN 'black'
    WHEN '2076-8' THEN 'native hawaiian or pacific islander'
    WHEN '2106-3' THEN 'white'
    ELSE 'unknown'
  END AS race,
  CASE p.ethnicity_code WHEN '2135-2' THEN 'hispanic' WHEN '2186-5' THEN 'not hispanic' ELSE 'unknown' END AS ethnicity,
  round(CAST(d.days_since_diagnosis AS DOUBLE) / 365.25, 1) AS diabetes_years,
  f.hba1c_percent,
  f.days_since_hba1c,
  f.bmi_kg_per_m2,
  f.systolic_mmhg,
  f.diastolic_mmhg,
  f.creatinine_mg_per_dl,
  f.egfr_ml_per_min,
  f.ldl_mg_per_dl,
  coalesce(v.encounters_prior_year, 0) AS encounters_prior_year,
  coalesce(v.emergency_visits_prior_year, 0) AS emergency_visits_prior_year,
  coalesce(v.inpatient_stays_prior_year, 0) AS inpatient_stays_prior_year,
  coalesce(o.medications_prior_400_days, 0) AS medications_prior_400_days,
  coalesce(o.has_metformin, false) AS has_metformin,
  coalesce(o.has_insulin, false) AS has_insulin,
  coalesce(d.has_hypertension, false) AS has_hypertension,
  coalesce(d.has_hyperlipidemia, false) AS has_hyperlipidemia,
  coalesce(d.has_chronic_kidney_disease, false) AS has_chronic_kidney_disease,
  coalesce(d.has_cardiovascular_disease, false) AS has_cardiovascular_disease,
  coalesce(d.has_retinopathy, false) AS has_retinopathy,
  coalesce(d.has_neuropathy, false) AS has_neuropathy,
  coalesce(d.has_anemia, false) AS has_anemia,
  CASE s.finding_code
    WHEN '266919005' THEN 'never'
    WHEN '8517006' THEN 'former'
    WHEN '449868002' THEN 'current'
    WHEN '428041000124106' THEN 'current'
    WHEN '77176002' THEN 'current'
    ELSE 'unknown'
  END AS smoking
FROM cohort_index AS i
JOIN patients AS p ON p.patient_key = i.patient_key
LEFT JOIN findings AS f ON f.patient_key = i.patient_key AND f.index_date = i.index_date
LEFT JOIN visits AS v ON v.patient_key = i.patient_key AND v.index_date = i.index_date
LEFT JOIN orders AS o ON o.patient_key = i.patient_key AND o.index_date = i.index_date
LEFT JOIN diagnoses AS d ON d.patient_key = i.patient_key AND d.index_date = i.index_date
LEFT JOIN smoking AS s ON s.patient_key = i.patient_key AND s.index_date = i.index_date
