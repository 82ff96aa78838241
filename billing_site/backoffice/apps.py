"""Two app configs: Django's admin on our own site, and this package's own tables-less app (label `backoffice`)."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.db.models.signals import post_migrate


class BackOfficeAdminConfig(admin_apps.AdminConfig):
    """`django.contrib.admin` with `BackOfficeSite` as the default site."""

    default = False
    default_site = "billing_site.backoffice.site.BackOfficeSite"


class BackOfficeConfig(AppConfig):
    """Roles and permissions; the admin classes here are bases for those of the domains."""

    default = True
    name = "billing_site.backoffice"
    label = "backoffice"
    verbose_name = "Back office"

    def ready(self) -> None:
        from billing_site.backoffice.roles import sync_roles_after_migrate

        post_migrate.connect(sync_roles_after_migrate, dispatch_uid="backoffice.roles")
