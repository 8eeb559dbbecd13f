"""Thresholds that trade a disparity off against accuracy, cost or selection; an analysis, no mitigation."""
