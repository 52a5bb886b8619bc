"""Weight files of other programs: tensors by name, read without running anything that a file says."""
