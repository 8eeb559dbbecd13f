"""What needs no threshold: areas under ROC curves across groups, distances of distributions, bounded group loss."""
