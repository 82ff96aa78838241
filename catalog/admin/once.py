"""What pages share whose rows are made through a form once, are never edited, and end through an action."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.widgets import UnfoldAdminTextInputWidget

from billing_site.backoffice.actions import changelist_url
from billing_site.backoffice.admin import BackOfficeAdmin
from catalog.queries.references import list_references
from catalog.queries.revisions import DEFAULT_ORG

if TYPE_CHECKING:
    BaseForm = forms.ModelForm[Any]
else:
    BaseForm = forms.ModelForm


class OnceForm(BaseForm):
    """A form whose checks are the service's: the database's constraints would only say the same in worse words."""

    org_id = forms.CharField(
        label="Organization", max_length=100, initial=DEFAULT_ORG, widget=UnfoldAdminTextInputWidget()
    )

    def clean_org_id(self) -> str:
        """Organizations are written in lower case."""
        return str(self.cleaned_data["org_id"]).strip().lower()

    def _get_validation_exclusions(self) -> set[str]:
        return {field.name for field in self._meta.model._meta.get_fields()}


class OnceAdmin(BackOfficeAdmin):
    """The form adds; afterwards the page shows. `add_fieldsets` is the form, `fieldsets` the page."""

    add_fieldsets: ClassVar[Any] = ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.add_fieldsets if obj is None else super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else super().get_readonly_fields(request, obj)

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        return self.autocomplete_fields

    def leave(self, request: HttpRequest, message: str) -> HttpResponse:
        """Answer an action that removed its object."""
        return leave_to_list(self, request, message)


def leave_to_list(page: BackOfficeAdmin, request: HttpRequest, message: str) -> HttpResponse:
    """Go to the list with a message: the object of the action is no more."""
    page.message_user(request, message)
    return HttpResponseRedirect(changelist_url(page))


def warn_of_references(rows: Sequence[Model]) -> Iterator[str]:
    """Say what keeps rows from being removed."""
    for row in rows:
        if uses := list_references(row):
            yield f"“{row}” is in use by {', '.join(uses)}: it cannot be removed."
