"""How much does it save never to build the Fast Weight Memory between the ends of a segment?"""
