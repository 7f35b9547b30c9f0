"""Labels and numbers in words."""
