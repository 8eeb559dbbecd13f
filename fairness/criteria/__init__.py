"""Criteria of fairness by name, and those that are no gap of a single metric."""
