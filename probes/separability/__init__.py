"""How well an encoder tells synthetic from real images."""
