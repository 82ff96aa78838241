"""
Rehearsals: stories in YAML, played on a moved clock through the product's own services and rolled back.

`reading` makes a story of a file, `player` plays it, `expectations` compare what came of it, `report` shows it. A verb
is a small class in `steps`; see `steps/__init__.py` for how to add one. The format is described in docs/rehearsal.md.
"""
