"""How much do seeds differ in answers, dynamics and weights, and how does that change with width, penalty and load?"""
