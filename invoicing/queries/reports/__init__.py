"""Reports for operators: tables of numbers made by a few statements each. Currencies are never added up."""
