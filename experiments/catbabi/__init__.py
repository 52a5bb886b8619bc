"""Which memories answer the questions of bAbI's stories in one stream? (Schlag et al. 2021, section 4.1)"""
