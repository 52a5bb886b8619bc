"""Which memories can follow a state that turns over and over? Parity and permutations over rates and seeds."""
