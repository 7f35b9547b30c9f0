"""Class names, prompts and captions."""
