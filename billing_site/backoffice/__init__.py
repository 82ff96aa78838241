"""Building blocks of the admin: site, base classes, service actions, roles, index page. Knows no domain."""
