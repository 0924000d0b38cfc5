SELECT id, patient, effective, c.code.coding[1].code AS code, c.code.coding[1].display AS display,
  c.valueQuantity.value AS quantity, c.valueQuantity.unit AS unit, c.valueCodeableConcept.coding[1].code AS answer
FROM (SELECT id, subject.reference AS patient, effectiveDateTime AS effective, unnest(component) AS c FROM {Observation})
