SELECT id, patient, effective, systolic.valueQuantity.value AS systolic, systolic.valueQuantity.code AS systolic_unit,
  diastolic.valueQuantity.value AS diastolic, diastolic.valueQuantity.code AS diastolic_unit
FROM (
  SELECT id, subject.reference AS patient, effectiveDateTime AS effective,
    list_filter(component, lambda c: len(list_filter(c.code.coding,
      lambda x: x.system = 'http://loinc.org' AND x.code = '8480-6')) > 0)[1] AS systolic,
    list_filter(component, lambda c: len(list_filter(c.code.coding,
      lambda x: x.system = 'http://loinc.org' AND x.code = '8462-4')) > 0)[1] AS diastolic
  FROM {Observation}
  WHERE status = 'final'
    AND len(list_filter(code.coding, lambda x: x.system = 'http://loinc.org' AND x.code = '85354-9')) > 0
)
WHERE systolic IS NOT NULL AND diastolic IS NOT NULL
