"""What do twenty rate networks hold through a delay, in which code, and how alike are they?"""
