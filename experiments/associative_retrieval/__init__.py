"""Which memories learn associative retrieval? (Ba et al. 2016, table 1)"""
