"""Claims in delimited files to FHIR R4: the formats `cpcds` and `rif`."""
