"""Configuration, targets, the training loop, and grids of students."""
