"""Products and meters as forms, and the entries the forms make."""

from __future__ import annotations

from typing import Any, Final

from catalog.admin.editor_document import Entry
from catalog.admin.editor_fields import EditorField, FindingPlaces
from catalog.admin.editor_values import LINES, TEXT, FormReader, Kind, keep_others, put, read_value
from catalog.documents.findings import join_pointer
from catalog.documents.vocabulary import AGGREGATIONS

_Part = tuple[str, str, str, Kind, dict[str, Any]]

_AGGREGATIONS: Final = {
    "sum": "Sum of the values",
    "count": "Number of events",
    "last": "Last value",
    "max": "Highest value",
    "unique": "Number of different values",
}
PARTS: Final[dict[str, tuple[_Part, ...]]] = {
    "products": (
        ("id", "Id", "text", TEXT, {"required": True, "help": "Another id is another product."}),
        ("name", "Name", "text", TEXT, {"required": True}),
        ("description", "Description", "textarea", TEXT, {"wide": True}),
        ("lookup_key", "Lookup key", "text", TEXT, {"placeholder": "the id"}),
    ),
    "meters": (
        ("name", "Name", "text", TEXT, {"required": True, "help": "Also the event name, unless that is given."}),
        ("display_name", "Shown as", "text", TEXT, {"placeholder": "the name"}),
        ("unit", "Unit", "text", TEXT, {"required": True, "placeholder": "tokens"}),
        (
            "aggregation_type",
            "Counts",
            "select",
            TEXT,
            {"options": [("", "Sum of the values (default)"), *((name, _AGGREGATIONS[name]) for name in AGGREGATIONS)]},
        ),
        ("event_name", "Event name", "text", TEXT, {"placeholder": "the name"}),
        ("lookup_key", "Lookup key", "text", TEXT, {"placeholder": "the name"}),
        (
            "dimensions",
            "Dimensions",
            "textarea",
            LINES,
            {"wide": True, "help": "What events may be priced apart by, one a line."},
        ),
    ),
}


def read_part(section: str, form: FormReader, base: Entry) -> Entry:
    """Return the product or meter that the posted fields make of `base`."""
    entry = keep_others(base, frozenset(name for name, *_ in PARTS[section]))
    for name, _, _, kind, _ in PARTS[section]:
        put(entry, name, read_value(form, name, base, kind))
    return entry


def build_part_fields(section: str, entry: Entry, places: FindingPlaces, pointer: str) -> list[EditorField]:
    """Return the fields of a product or meter."""
    fields = []
    for name, label, control, kind, more in PARTS[section]:
        value = kind.show(entry.get(name))
        errors = places.take(pointer, name) or places.take_below(join_pointer(pointer, name))
        fields.append(EditorField(name, label, value, control, errors=errors, **more))
    return fields
