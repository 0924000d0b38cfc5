-- Each source is reduced to (patient, year, kind, amount) before they meet: a join of the tables would multiply rows.
WITH activity AS (
  SELECT
    patient_key,
    silo,
    year(started_at) AS year,
    CASE
      WHEN class_code = 'AMB' THEN 'ambulatory'
      WHEN class_code = 'EMER' THEN 'emergency'
      WHEN class_code IN ('IMP', 'ACUTE', 'NONAC') THEN 'inpatient'
      WHEN class_code = 'HH' THEN 'home_health'
      WHEN class_code = 'VR' THEN 'virtual'
      ELSE 'other encounter'
    END AS kind,
    -- Days of a stay. `greatest` takes no notice of a null, so a stay without an end is kept from it.
    CASE
      WHEN class_code IN ('IMP', 'ACUTE', 'NONAC') AND ended_at IS NOT NULL
        THEN greatest(1, datediff(to_date(ended_at), to_date(started_at)))
    END AS amount,
    true AS is_encounter
  FROM encounters
  WHERE is_counted
  UNION ALL
  SELECT patient_key, silo, year(started_at), 'procedure', NULL, false
  FROM procedures
  WHERE is_counted
  UNION ALL
  SELECT patient_key, silo, year(ordered_at), 'medication order', NULL, false
  FROM medications
  WHERE is_counted
  UNION ALL
  SELECT patient_key, silo, year(observed_at), 'laboratory result', NULL, false
  FROM laboratory_results
  WHERE is_counted
  UNION ALL
  SELECT patient_key, silo, year(coalesce(billable_started_at, created_at)), 'claim in dollars', total_amount, false
  FROM claims
  WHERE is_counted AND currency_code = 'USD'
)
SELECT
  patient_key,
  -- The patient's: a fact may have come by another door of the same hospital.
  coalesce(min(p.silo), min(a.silo)) AS silo,
  year,
  count_if(is_encounter) AS encounter_count,
  count_if(kind = 'ambulatory') AS ambulatory_count,
  count_if(kind = 'emergency') AS emergency_count,
  count_if(kind = 'inpatient') AS inpatient_count,
  count_if(kind = 'home_health') AS home_health_count,
  count_if(kind = 'virtual') AS virtual_count,
  CAST(coalesce(sum(amount) FILTER (WHERE kind = 'inpatient'), 0) AS BIGINT) AS inpatient_days,
  count_if(kind = 'procedure') AS procedure_count,
  count_if(kind = 'medication order') AS medication_order_count,
  count_if(kind = 'laboratory result') AS laboratory_result_count,
  CAST(coalesce(sum(amount) FILTER (WHERE kind = 'claim in dollars'), 0) AS DECIMAL(18, 2)) AS claims_total_usd
FROM activity AS a
LEFT JOIN patients AS p USING (patient_key)
WHERE year IS NOT NULL
GROUP BY patient_key, year
