"""What a field of the editor shows: label, control, value, help, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from billing_site.kernel.money import is_known_currency
from catalog.admin.amounts import describe_amount
from catalog.documents.findings import Finding, join_pointer

Option = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EditorField:
    """
    One control. `control` is text, amount, number, textarea, select, checkbox or list (a text with suggestions).

    `term` names the term of a price it belongs to, by which the script shows and hides it.
    """

    name: str
    label: str
    value: str = ""
    control: str = "text"
    options: Sequence[Option] = ()
    help: str = ""
    unit: str = ""
    term: str = ""
    hidden: bool = False
    wide: bool = False
    required: bool = False
    errors: Sequence[str] = ()
    major: str = ""
    placeholder: str = ""
    listing: str = ""

    @property
    def id(self) -> str:
        return f"id_{self.name}"

    @property
    def is_checked(self) -> bool:
        return self.value == "on"


def include_option(options: list[Option], value: str) -> list[Option]:
    """Offer what the document says as well, even where it is no choice."""
    known = any(choice == value for choice, _ in options)
    return options if known else [*options, (value, f"{value} (not known)")]


@dataclass(slots=True)
class FindingPlaces:
    """Findings by their place. A field takes those of its pointer; what no field took is shown above its part."""

    by_pointer: dict[str, list[str]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> FindingPlaces:
        places = cls()
        for finding in findings:
            places.by_pointer.setdefault(finding.pointer, []).append(finding.detail)
        return places

    def take(self, pointer: str, key: str | int = "") -> list[str]:
        """Return what is wrong at a place, or at a member of it."""
        place = pointer if key == "" else join_pointer(pointer, key)
        self.taken.add(place)
        return self.by_pointer.get(place, [])

    def take_below(self, pointer: str) -> list[str]:
        """Return what no field took at a place or anywhere below it."""
        found = []
        for place, details in self.by_pointer.items():
            if place not in self.taken and (place == pointer or place.startswith(f"{pointer}/")):
                self.taken.add(place)
                where = place[len(pointer) + 1 :].replace("/", " ")
                found += [f"{where}: {detail}" if where else detail for detail in details]
        return found

    def count_below(self, pointer: str) -> int:
        """Return how many findings there are at a place and below it."""
        return sum(
            len(details)
            for place, details in self.by_pointer.items()
            if place == pointer or place.startswith(f"{pointer}/")
        )


def describe_major(text: str, currency: str) -> str:
    """Return minor units as money, for beside the field: `29.00 USD`; empty while it cannot be told."""
    if not is_known_currency(currency):
        return ""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return ""
    return describe_amount(amount, currency) if amount.is_finite() and abs(amount.adjusted()) < 30 else ""
