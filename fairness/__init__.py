"""Fairness: disparities between groups, audits, and thresholds that trade them off."""

if __name__ != "evalkit.fairness":
    raise ImportError("This folder installs as evalkit.fairness: import evalkit.fairness, not fairness.")
