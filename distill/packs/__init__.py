"""Data sets the project knows by name: where they come from, how to get them, their licence and citation."""
