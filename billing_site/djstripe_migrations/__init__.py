"""
dj-stripe's schema in one migration.

dj-stripe's own migrations create and then drop some six hundred columns, which takes about 45 seconds on every new
database. `MIGRATION_MODULES` points here instead. The one migration of this package is generated from the state those
migrations lead to, never written by hand:

    python -m billing_site.djstripe_migrations._generate

It `replaces` the originals, so a database made by either of them is accepted by the other. The command also writes
`schema.json`, a snapshot of the PostgreSQL catalogs after dj-stripe's *own* migrations and the version it was taken
from; `tests/platform/test_djstripe_migrations.py` compares our database with it. After an upgrade of dj-stripe run the
command again (with a PostgreSQL named by BILLING_DATABASE_URL) and add a follow-up migration for existing databases
when the diff of the snapshot is not empty.
"""
