"""What the specification calls an error is one to both engines: the compiler says so before any data is read."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from cohortlake.core.errors import ViewError
from cohortlake.core.views import compile_view
from tests.property import oracle
from tests.property.faults import Fault, malformed, mistyped
from tests.property.oracle import RefusedError

THOROUGHLY = settings(
    max_examples=100,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@THOROUGHLY
@given(malformed())
def test_a_view_of_a_wrong_form(fault: Fault) -> None:
    both_refuse(fault)


@THOROUGHLY
@given(mistyped())
def test_a_view_of_wrong_types(fault: Fault) -> None:
    both_refuse(fault)


def both_refuse(fault: Fault) -> None:
    with pytest.raises(RefusedError):
        oracle.rows(fault.view, [fault.resource])
    with pytest.raises(ViewError):
        compile_view(fault.view)
