"""How many associations does a memory hold whose keys are pairs of symbols?"""
