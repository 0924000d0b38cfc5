SELECT i.patient_key, i.silo, i.index_date, year(i.index_date) - p.birth_year AS age_years, p.gender,
  max_by(t.value, t.tested_on) AS last_value, round(avg(t.value), 2) AS mean_value, count(*) >= 3 AS is_frequent
FROM cohort_index i JOIN persons p USING (patient_key)
JOIN tests t ON t.patient_key = i.patient_key AND t.tested_on <= i.index_date
GROUP BY i.patient_key, i.silo, i.index_date, p.birth_year, p.gender
