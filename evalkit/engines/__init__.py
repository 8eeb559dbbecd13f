"""Where sums are collected. An engine takes statistics and rows in slices and returns their sums."""
