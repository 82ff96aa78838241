"""
Base classes of every admin page.

A page shows rows and starts services; it never edits money or status itself. Whoever derives from `BackOfficeAdmin` and
does not define `save_with_service` gets a read-only page.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin as StyledModelAdmin
from unfold.admin import TabularInline
from unfold.dataclasses import UnfoldAction
from unfold.enums import ActionVariant
from unfold.views import ChangeList

from billing_site.backoffice.actions import ServiceAction, find_service_action
from billing_site.backoffice.navigation import NavPage
from billing_site.backoffice.page_links import list_page_links
from billing_site.backoffice.pagination import CappedPaginator
from billing_site.kernel.errors import DomainError

# Buttons that fit above a page beside its name.
BUTTONS: Final = 6


class QuietChangeList(ChangeList):
    """A list that offers "show all" only where something is left out."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


class BackOfficeAdmin(StyledModelAdmin):
    """
    What all our admin pages share.

    - `financial = True`: a document or ledger row; viewing only, whatever the user may do elsewhere.
    - `save_with_service`: define it to allow the form; it calls one service and returns the saved row.
    - `nav_icon`, `nav_order`, `nav_title`, `nav_hidden`, `nav_top`, `nav_badge`: how the sidebar lists the page;
      `nav_pages`: further pages that it lists before it.
    - `empty_title`, `empty_text`: what an empty list teaches.
    """

    financial: ClassVar[bool] = False
    nav_icon: ClassVar[str] = ""
    nav_order: ClassVar[int] = 100
    nav_title: ClassVar[str] = ""
    nav_hidden: ClassVar[bool] = False
    nav_top: ClassVar[bool] = False
    nav_pages: ClassVar[tuple[NavPage, ...]] = ()
    empty_title: ClassVar[str] = ""
    empty_text: ClassVar[str] = ""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = False
    list_fullwidth = True
    compressed_fields = True
    warn_unsaved_form = True
    ordering: tuple[str, ...] = ("-pk",)

    def save_with_service(self, request: HttpRequest, form: ModelForm[Any], change: bool) -> Model | None:
        """
        Call one service with what the form holds and return the row it wrote (None: `form.instance` is that row).

        A `DomainError` raised here is shown in the form, and nothing is written.
        """
        raise NotImplementedError

    @property
    def _saves(self) -> bool:
        return not self.financial and type(self).save_with_service is not BackOfficeAdmin.save_with_service

    def nav_badge(self, request: HttpRequest) -> str:
        """Return the number beside the page's entry in the sidebar, as text; empty for none."""
        return ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._saves and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._saves and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return QuietChangeList

    # ---- forms that end in a service --------------------------------------------------------------------------------
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the form again, with what was typed and why it was refused, when the service refuses."""
        try:
            page = super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as refusal:
            # The transaction around the form is rolled back by now; the second pass only renders.
            request.refusal = refusal  # type: ignore[attr-defined]
            page = super().changeform_view(request, object_id, form_url, extra_context)
        self._add_page_links(request, page)
        return page

    def _add_page_links(self, request: HttpRequest, page: Any) -> None:
        """Put the buttons of other apps beside the page's own; in a menu, where there would be too many."""
        context = getattr(page, "context_data", None)
        if not context or context.get("original") is None:
            return
        own = list(context.get("actions_detail") or ())
        links: list[dict[str, Any]] = [
            {"title": link.title, "path": link.url, "icon": link.icon, "variant": ActionVariant.DEFAULT}
            for link in list_page_links(request, context["original"])
        ]
        if len(links) > 1 and len(own) + len(links) > BUTTONS:
            more = {"title": "More", "icon": "more_horiz", "method_name": "more", "variant": ActionVariant.DEFAULT}
            links = [{**more, "items": links}]
        context["actions_detail"] = [*own, *links]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form_class = super().get_form(request, obj, change=change, **kwargs)
        refusal = getattr(request, "refusal", None)
        if refusal is None:
            return form_class
        return type(form_class.__name__, (RefusedForm, form_class), {"refusal": refusal})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Hand the form to the service; afterwards `obj` is the row as it was written."""
        saved = self.save_with_service(request, form, change)
        if saved is not None and saved is not obj:
            obj.pk = saved.pk
            obj._state.adding = False
            obj.refresh_from_db()

    # ---- actions ----------------------------------------------------------------------------------------------------
    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer only the bulk actions this person may run."""
        return {
            name: entry
            for name, entry in super().get_actions(request).items()
            if (found := find_service_action(entry[0])) is None or found.is_permitted(request.user, self.model)
        }

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        """Offer only what this person may do with the object in its present state."""
        actions: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        if not any(find_service_action(action.method) for action in actions):
            return actions
        # Kept for the second pass after a refusal.
        obj = getattr(request, "acted_on", None) or self.get_object(request, str(object_id))
        request.acted_on = obj  # type: ignore[attr-defined]
        return [action for action in actions if self._is_offered(request, find_service_action(action.method), obj)]

    def get_actions_list(self, request: HttpRequest) -> list[UnfoldAction]:
        return [
            action
            for action in super().get_actions_list(request)
            if self._is_offered(request, find_service_action(action.method), None)
        ]

    def _is_offered(self, request: HttpRequest, action: ServiceAction | None, obj: Any) -> bool:
        if action is None:
            return True
        if not action.is_permitted(request.user, self.model):
            return False
        return obj is None or (action.is_allowed(obj) and not action.find_refusal(request.user, obj))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        page: HttpResponse = super().changelist_view(request, {"title": self._plural_title(), **(extra_context or {})})
        return page

    def _plural_title(self) -> str:
        name = self.nav_title or str(self.model._meta.verbose_name_plural)
        return name[:1].upper() + name[1:]


class RefusedForm:
    """A bound form that carries a service's refusal: findings beside their fields, the rest above the form."""

    refusal: ClassVar[DomainError]
    fields: dict[str, Any]
    add_error: Any

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        placed = False
        for finding in self.refusal.errors:
            name = finding.pointer.rsplit("/", 1)[-1]
            if name in self.fields:
                self.add_error(name, finding.detail)
                placed = True
        if not placed:
            details = [finding.detail for finding in self.refusal.errors]
            self.add_error(
                None, [self.refusal.detail, *(detail for detail in details if detail != self.refusal.detail)]
            )


class ReadOnlyInline(TabularInline):
    """Rows of another table below an object, to look at. Long lists come in pages."""

    extra = 0
    max_num = 0
    can_delete = False
    hide_title = True
    show_change_link = False
    per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
