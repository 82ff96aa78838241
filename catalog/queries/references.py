"""What refers to a row of the catalog, in whatever app, so that nothing in use is ever removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import models

from billing_site.kernel.errors import DomainError


class ObjectInUse(DomainError):
    """`uses` names what refers to the object."""

    code, title, status = "object_in_use", "Something refers to it", 409


def list_references(row: models.Model) -> list[str]:
    """
    Return the kinds of rows that refer to `row`, in words: `plans`, `subscription items`.

    Every foreign key and many-to-many link to its table counts, of every app. One query for each that may exist.
    """
    return sorted(set(_find_sources(row)))


def _find_sources(row: models.Model) -> Iterator[str]:
    for relation in row._meta.get_fields(include_hidden=True):
        if not isinstance(relation, models.ForeignObjectRel) or relation.field is None:
            continue
        source: Any = relation.related_model
        if isinstance(source, str) or source._meta.auto_created:
            continue
        if source._base_manager.filter(**{relation.field.name: row}).order_by().exists():
            yield str(source._meta.verbose_name_plural)


def require_unused(row: models.Model, *, instead: str, also: Iterable[str] = ()) -> None:
    """
    Make sure that nothing refers to `row`.

    `also` names uses that no foreign key tells; `instead` is what can be done with a row that is in use.
    :raises ObjectInUse: naming what does.
    """
    uses = [*also, *list_references(row)]
    if uses:
        named = uses[0] if len(uses) == 1 else f"{', '.join(uses[:-1])} and {uses[-1]}"
        raise ObjectInUse(f"“{row}” is in use by {named}. {instead}", uses=uses)
