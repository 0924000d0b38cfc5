"""Terminology: the units that LOINC codes imply, how units are spelled, maps of local codes; docs/terminology.md."""
