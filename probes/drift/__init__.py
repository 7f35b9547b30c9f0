"""How far a student's embeddings are from its teacher's."""
