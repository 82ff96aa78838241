"""Who may sign in, and the roles they hold."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.admin import ModelAdmin as StyledModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm


@admin.register(User)
class StaffAdmin(DjangoUserAdmin, StyledModelAdmin):  # type: ignore[type-arg]
    """People who may sign in here; their groups are their roles."""

    nav_icon = "badge"
    nav_order = 80
    nav_title = "Staff"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "role_names", "is_active", "last_login")
    list_filter = ("groups", "is_active")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="Roles")
    def role_names(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or ("superuser" if user.is_superuser else "none")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """People are deactivated: the audit trail keeps naming them."""
        return False


@admin.register(Group)
class RoleAdmin(DjangoGroupAdmin, StyledModelAdmin):
    """Roles, to look at: their permissions are declared in `roles.py`."""

    nav_icon = "shield_person"
    nav_order = 81
    nav_title = "Roles"
    fields = ("name", "permissions")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
