"""How long do the analyses of a thousand networks take?"""
