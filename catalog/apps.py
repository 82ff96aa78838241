from django.apps import AppConfig


class CatalogConfig(AppConfig):
    name = "catalog"
    verbose_name = "Catalog"

    def ready(self) -> None:
        from catalog.services.draft_approvals import register_catalog_approvals

        register_catalog_approvals()
