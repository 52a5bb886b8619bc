"""How fast are populations and their operations, beside plain torch and the way the earlier code works?"""
