"""One evaluated member as arrays: its summary entry and what its figures show."""
