"""Is a gap between groups real: intervals, tests, corrections and shrinkage, of arrays alone."""
