"""The map page: its data, its chart, the moving from one encoder to another, and what a reader selects there."""
