"""Separability at every stage of a network."""
