"""The commands of `synthgap`: one module a command, what they share in `console`, `options` and `inputs`."""
