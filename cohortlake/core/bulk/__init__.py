"""FHIR Bulk Data Access as a client: what is asked, what the answers mean, when to ask again. No I/O.

Source: HL7 Bulk Data Access IG, STU 2, https://hl7.org/fhir/uv/bulkdata/STU2/export.html.
"""
