-- An order names its drug or points at it (medication[x] of FHIR). Here both read alike.
SELECT
  o.medication_order_key AS medication_key,
  o.patient_key,
  o.encounter_key,
  o.silo,
  coalesce(o.medication_code, d.drug_code) AS medication_code,
  coalesce(o.medication_system, d.drug_system) AS medication_system,
  coalesce(o.medication_display, d.drug_display) AS medication_display,
  coalesce(o.source_code, d.source_code) AS source_code,
  coalesce(o.source_system, d.source_system) AS source_system,
  coalesce(o.source_display, d.source_display) AS source_display,
  o.status,
  o.intent_code,
  o.ordered_at,
  o.ordered_at_basis,
  o.ended_at,
  o.reason_code,
  o.reason_system,
  o.reason_display,
  o.reason_condition_key,
  o.is_counted
FROM medication_orders AS o
LEFT JOIN drugs AS d ON d.drug_key = o.drug_key
