"""The four roles, as groups. Their permissions follow from `roles.py` after every migrate."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

ROLES = ("viewer", "billing", "finance_lead", "admin")


def create_roles(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    group = apps.get_model("auth", "Group")
    for name in ROLES:
        group.objects.using(schema_editor.connection.alias).get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]
    # Going back keeps the groups: people are in them.
    operations = [migrations.RunPython(create_roles, migrations.RunPython.noop)]
