"""Counter-background sets: cut-out objects on backgrounds, tied to the class as firmly as asked, with exact masks and groups."""
