"""Does a Fast Weight Memory help a language model with rare words that it has just read? (Schlag et al. 2021, 4.3)"""
