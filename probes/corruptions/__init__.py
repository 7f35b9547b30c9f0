"""Fifteen common corruptions at five severities, by the published definitions, for images of any size."""
