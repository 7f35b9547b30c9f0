"""Limits on memory, files and text that come from outside."""
