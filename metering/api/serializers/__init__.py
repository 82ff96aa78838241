"""Serializers of the usage API: read queries, and describe to OpenAPI what msgspec reads and writes."""
