"""Does an agent that recalls its own states choose at once what it has seen before? (Ritter et al. 2018)"""
