"""Threads and memoised results."""
