"""Concepts, components and error slices that nobody named beforehand."""
