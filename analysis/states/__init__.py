"""Hidden states: similarity of members, dynamics."""
