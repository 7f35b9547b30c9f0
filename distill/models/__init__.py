"""Teachers and students: architectures, weights and checkpoints."""
