"""The recount: what a step read and what it wrote, counted by code that had no part in the writing.

DuckDB reads the files themselves: sources, bronze, staged parts, tables by their log. Nothing here imports a step, a
reader of a format, or what types, maps or renders FHIR; `lint-imports` holds that. What a step says of itself is no
evidence, and no number here is what is left over when others are taken from a total.
"""
