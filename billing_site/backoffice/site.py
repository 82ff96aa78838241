"""The admin site. It shows only what was made for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Model
from unfold.admin import ModelAdmin as StyledModelAdmin
from unfold.sites import UnfoldAdminSite

# Libraries that register admins of their own: theirs edit rows behind our services' back.
FOREIGN_APPS = frozenset({"djstripe", "django_celery_beat", "auth"})


class BackOfficeSite(UnfoldAdminSite):
    """
    Unfold's site without the admins that libraries bring along.

    `delete_selected` is not offered anywhere: nothing here is deleted in bulk.
    """

    index_title = "Overview"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        """Register as usual, passing over a library's own admin for its own models."""
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
        ours = admin_class is not None and issubclass(admin_class, StyledModelAdmin)
        wanted = [model for model in models if ours or model._meta.app_label not in FOREIGN_APPS]
        if wanted:
            super().register(wanted, admin_class, **options)
