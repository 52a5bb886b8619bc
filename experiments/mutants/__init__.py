"""Small faults put into the analyses and operations, and whether the tests notice."""
