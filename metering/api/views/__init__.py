"""Views of the usage API."""
