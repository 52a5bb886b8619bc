"""Recorded networks by condition: what can be read from their states, and when."""
