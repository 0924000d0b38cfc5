SELECT p.patient_key, p.silo, max(t.tested_on) AS index_date,
  2024 - p.birth_year >= 18 AS in_1, count(t.tested_on) > 0 AS in_2, p.gender = 'unknown' AS out_1
FROM persons p LEFT JOIN tests t ON t.patient_key = p.patient_key AND t.tested_on <= DATE '2024-12-31'
GROUP BY p.patient_key, p.silo, p.birth_year, p.gender
