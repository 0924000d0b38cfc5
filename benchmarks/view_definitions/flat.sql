SELECT id, subject.reference AS patient, encounter.reference AS encounter,
  clinicalStatus.coding[1].code AS clinical_status, category[1].coding[1].code AS category,
  code.coding[1].code AS code, code.coding[1].system AS system, code.coding[1].display AS display,
  onsetDateTime AS onset, abatementDateTime AS abatement, recordedDate AS recorded
FROM {Condition}
