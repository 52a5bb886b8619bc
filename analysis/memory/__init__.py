"""Associative memories: their log, replay, and which write each read found."""
