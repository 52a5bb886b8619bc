"""Learning curves, accuracy by kind of trial, losses token by token."""
