"""Do all seeds hold the spectra of the paper's table 1, not only the best of their checkpoints?"""
