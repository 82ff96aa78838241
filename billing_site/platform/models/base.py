"""Bases of all models: a UUIDv7 key with a public form, and the two bookkeeping instants."""

from __future__ import annotations

import re
import uuid
from functools import lru_cache
from typing import ClassVar

from django.db import models

from billing_site.kernel.ids import decode_id, encode_id, new_uuid


@lru_cache(maxsize=256)
def _name_type(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Identified(models.Model):
    """
    A row with a time-ordered UUID key, shown outside as `<id_prefix>_<base32>`.

    A concrete model sets `id_prefix`; `object_type` is its name in events and problems (`credit_note`), derived from
    the class name unless given.
    """

    id_prefix: ClassVar[str] = ""
    object_type: ClassVar[str] = ""

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)

    objects = models.Manager()

    class Meta:
        abstract = True

    @property
    def public_id(self) -> str:
        """The id as callers of the API and people in the admin see it."""
        return encode_id(self.id_prefix, self.id)

    @classmethod
    def parse_id(cls, text: str) -> uuid.UUID | None:
        """Return the key behind a public id of this model, or None when `text` is not one."""
        return decode_id(cls.id_prefix, text)

    @classmethod
    def get_object_type(cls) -> str:
        """Return the name of this kind of object: `credit_note` for `CreditNote`."""
        return cls.object_type or _name_type(cls.__name__)


class Timestamped(models.Model):
    """Bookkeeping instants of the row itself; business instants are columns of their own."""

    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        abstract = True
