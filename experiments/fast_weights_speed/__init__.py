"""How much does it save never to build the fast-weight matrix?"""
