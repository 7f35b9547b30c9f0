"""Separability with confounds removed one after another."""
