"""Language models of `transformers`, trained for a minute, whose memories are opened and changed."""
