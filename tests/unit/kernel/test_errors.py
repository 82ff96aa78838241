"""Errors of the domain: stable codes, findings with pointers."""

from __future__ import annotations

import re

import pytest

from billing_site.kernel import errors
from billing_site.kernel.errors import DomainError, FieldError, InvalidState, NotFound, ValidationFailed

CLASSES = sorted(
    (item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, DomainError)),
    key=lambda item: item.__name__,
)


class TestDomainError:
    @pytest.mark.parametrize("error_class", CLASSES, ids=lambda item: item.__name__)
    def test_states_code_title_and_status(self, error_class: type[DomainError]) -> None:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error_class.code)
        assert error_class.title
        assert 400 <= error_class.status <= 599

    def test_codes_are_unique(self) -> None:
        assert len({item.code for item in CLASSES}) == len(CLASSES)

    def test_falls_back_to_its_title(self) -> None:
        assert str(DomainError()) == DomainError().detail == DomainError.title

    def test_carries_members_and_findings(self) -> None:
        error = DomainError("too much", errors=[FieldError("/amount", "max", "At most 5.")], maximum=5)
        assert error.members == {"maximum": 5}
        assert [finding.as_dict() for finding in error.errors] == [
            {"pointer": "/amount", "code": "max", "detail": "At most 5."}
        ]


class TestSubclasses:
    def test_not_found_names_the_type_and_not_the_reason(self) -> None:
        error = NotFound("invoice")
        assert error.members == {"object_type": "invoice"}
        assert "not visible" in error.detail

    def test_validation_failed_of_is_one_finding(self) -> None:
        error = ValidationFailed.of("/currency", "unknown", "No such currency.")
        assert (error.status, error.detail) == (400, "No such currency.")
        assert error.errors == (FieldError("/currency", "unknown", "No such currency."),)

    def test_invalid_state_tells_the_status(self) -> None:
        error = InvalidState("It is void.", current_status="void")
        assert (error.status, error.members) == (409, {"current_status": "void"})
