"""`publish_catalog`: a changed catalog in the middle of a story."""

from __future__ import annotations

from dataclasses import dataclass

from invoicing.rehearsal.catalogs import CatalogBlock, read_catalog
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World


@dataclass(frozen=True, slots=True)
class PublishCatalog:
    """Publish another catalog document; the block is that of `catalog`."""

    catalog: CatalogBlock
    account: str = ""

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> PublishCatalog:
        return cls(read_catalog(fields, scope.folder))

    def describe(self) -> str:
        return "publish_catalog"

    def play(self, world: World) -> list[str]:
        revision = self.catalog.publish(org_id=world.org_id, at=world.now, actor=world.actor)
        for beside in self.catalog.beside:
            beside.create(org_id=world.org_id, at=world.now, actor=world.actor)
        return [f"the catalog is now at revision {revision}"]
