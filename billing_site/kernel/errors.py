"""
Errors of the domain.

A `DomainError` states a refused fact. Its `code` is stable and listed in the contract; interfaces render it as a
problem document (API), a message (admin) or one line on stderr (CLI). Subclasses stand beside the function that raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One finding: where (JSON pointer or query parameter), what kind, and a sentence for a person."""

    pointer: str
    code: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class DomainError(Exception):
    """A refused request. `members` are extra members of the problem document; they never hold secrets."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Unexpected failure"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, errors: Sequence[FieldError] = (), **members: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = tuple(errors)
        self.members = members


class NotFound(DomainError):
    code, title, status = "not_found", "Not found", 404

    def __init__(self, object_type: str, detail: str = "") -> None:
        super().__init__(detail or f"No such {object_type}, or not visible to you.", object_type=object_type)


class ValidationFailed(DomainError):
    code, title, status = "validation_failed", "One or more fields are wrong", 400

    @classmethod
    def of(cls, pointer: str, code: str, detail: str) -> ValidationFailed:
        """One finding."""
        return cls(detail, errors=[FieldError(pointer, code, detail)])


class InvalidState(DomainError):
    code, title, status = "invalid_state", "Not possible in this state", 409

    def __init__(self, detail: str, *, current_status: str) -> None:
        super().__init__(detail, current_status=current_status)


class AmountNotPositive(DomainError):
    code, title, status = "amount_not_positive", "The amount must be above zero", 400


class CurrencyUnsupported(DomainError):
    code, title, status = "currency_unsupported", "This currency is not offered", 400


class PeriodNotValid(DomainError):
    code, title, status = "period_invalid", "The period cannot be read or is reversed or too long", 400


class AccountRequired(DomainError):
    code, title, status = "account_required", "Name the account", 400


class AccountForbidden(DomainError):
    code, title, status = "account_forbidden", "This account is not yours", 403


class StorageUnavailable(DomainError):
    code, title, status, retryable = "storage_unavailable", "The database cannot be reached", 503, True
