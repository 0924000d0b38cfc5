"""The mapping language: templates of FHIR resources over records of any format, compiled and checked against R4.

docs/mappings.md teaches it. A format supplies what is its own (`source.Source`): how a leaf is read, what conditions
say, what is gone through, what a value becomes. All else is here, once: `compiler` checks templates and compiles them
to `parts`, `codes` says what a code map makes of a code, `identity` makes ids and references.
"""
