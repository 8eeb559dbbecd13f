"""Audits by a standard: New York City's Local Law 144, and the four-fifths rule."""
