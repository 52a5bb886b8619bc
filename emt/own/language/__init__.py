"""Recurrent language models of `transformers`: each write and read of their memories, proved to be what they compute.

`emt.own.language.recording` runs the models, `rebinding` watches the functions that compute their recurrences,
`readers` says of each such function what it writes, keeps, erases and asks, `proof` computes the same recurrence
again and compares, `tokens` holds the text.
"""
