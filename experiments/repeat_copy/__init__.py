"""Does a network that learns repeat copy do so by rotating what it has seen through memory slots?"""
