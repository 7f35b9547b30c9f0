"""The commands of `synthgap`: one module a command."""
