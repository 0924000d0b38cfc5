-- An emergency visit or the start of an inpatient stay, for any cause, from the day after the index date to day 365.
SELECT
  i.patient_key,
  i.index_date,
  count(e.encounter_key) > 0 AS outcome
FROM cohort_index AS i
LEFT JOIN encounters AS e
  ON e.patient_key = i.patient_key
  AND e.is_counted
  AND e.class_code IN ('EMER', 'IMP', 'ACUTE', 'NONAC')
  AND to_date(e.started_at) > i.index_date
  AND to_date(e.started_at) <= i.index_date + 365
GROUP BY i.patient_key, i.index_date
