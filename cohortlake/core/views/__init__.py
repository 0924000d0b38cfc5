"""SQL on FHIR v2 ViewDefinitions: JSON in, a typed plan out. No engine is named here; spark_jobs.views runs plans."""

from cohortlake.core.views.compiler import compile_view
from cohortlake.core.views.definition import View, parse_view
from cohortlake.core.views.plan import ViewPlan

__all__ = ["View", "ViewPlan", "compile_view", "parse_view"]
