"""The base of the generated migration: create every table at once."""

from __future__ import annotations

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState


class CreateTables(migrations.Migration):
    """
    A migration that only creates tables, in one step.

    Django renders the models of the history again after every operation, and dj-stripe's all refer to each other: that
    alone takes seconds. PostgreSQL adds foreign keys after all tables exist, so the tables of the last state can be
    made directly, in any order.
    """

    def apply(
        self, project_state: ProjectState, schema_editor: BaseDatabaseSchemaEditor, collect_sql: bool = False
    ) -> ProjectState:
        """Create the tables of this migration's app and return the state after it."""
        models = {key: model.clone() for key, model in project_state.models.items()}
        final: ProjectState = self.mutate_state(ProjectState(models, project_state.real_apps), preserve=False)
        for model in final.apps.get_models():
            if model._meta.app_label == self.app_label:
                schema_editor.create_model(model)
        return final
