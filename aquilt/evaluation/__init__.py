"""Metrics, the real test sets, and the paper's own tables as data."""
