SELECT i.patient_key, i.index_date, coalesce(max(t.value) >= 7, false) AS outcome
FROM cohort_index i LEFT JOIN tests t ON t.patient_key = i.patient_key
  AND t.tested_on > i.index_date AND t.tested_on <= i.index_date + INTERVAL 365 DAYS
GROUP BY i.patient_key, i.index_date
