"""The commands, one module per top-level name. They load typer only; everything else when they run."""
