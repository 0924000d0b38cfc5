SELECT id, patient, c.code.coding[1].code AS code, c.valueQuantity.value AS quantity, c.valueQuantity.unit AS unit
FROM (SELECT id, subject.reference AS patient, unnest(component) AS c FROM {Observation})
UNION ALL
SELECT id, subject.reference, valueQuantity.code, valueQuantity.value, valueQuantity.unit
FROM {Observation} WHERE valueQuantity IS NOT NULL
