"""The level of every interval of this project. Nothing is imported, so that the dashboard has it without scipy."""

LEVEL = 0.95
"""Share of intervals that hold the true number."""

Z = 1.959963984540054
"""Quantile of the standard normal distribution at 0.5 + LEVEL / 2."""
