"""Which memories do updates within a sequence make? EtherealRNN on strings of characters."""
