"""Groups as fairlearn has them: the names of fairlearn.metrics, all groups counted at once."""
