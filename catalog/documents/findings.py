"""What is wrong with a document: every finding names its place, never a secret value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

SECRET_CODE: Final = "secret"  # noqa: S105
MAX_FINDINGS: Final = 500
_SHOWN_LENGTH: Final = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: JSON pointer into the document, stable code, one sentence for a person."""

    pointer: str
    code: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of one document: entries in their order, then what they say of each other. Empty means valid."""

    items: tuple[Finding, ...] = ()

    @property
    def is_valid(self) -> bool:
        return not self.items

    @property
    def has_secret(self) -> bool:
        """Whether something looks like a secret; then every finding is about that."""
        return any(finding.code == SECRET_CODE for finding in self.items)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class DocumentInvalid(ValueError):
    """The document cannot be read; `findings` say why."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings = findings


class Collector:
    """Gathers findings while a document is checked; past `MAX_FINDINGS` it only remembers that there were more."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._more = False

    @property
    def is_full(self) -> bool:
        """Whether further findings would only be counted; costly checks need not go on."""
        return self._more

    def add(self, pointer: str, code: str, detail: str) -> None:
        """Report one finding."""
        if len(self._found) >= MAX_FINDINGS:
            self._more = True
        else:
            self._found.append(Finding(pointer, code, detail))

    def __len__(self) -> int:
        return len(self._found)

    def collect(self) -> Findings:
        """Return what was found so far."""
        if self._more:
            text = f"There are more than {MAX_FINDINGS} findings; mend these first."
            return Findings((*self._found, Finding("", "too_many_findings", text)))
        return Findings(tuple(self._found))


def join_pointer(parent: str, key: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of a member of `parent`."""
    return f"{parent}/{str(key).replace('~', '~0').replace('/', '~1')}"


def quote(value: object) -> str:
    """Return a value of the document as it is shown in a sentence: short and on one line."""
    text = " ".join(str(value).split())
    return f"“{text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + '…'}”"
