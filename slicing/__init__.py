"""What a slice is, and how rows are put into slices."""

if __name__ != "evalkit.slicing":
    raise ImportError("This folder installs as evalkit.slicing: import evalkit.slicing, not slicing.")
