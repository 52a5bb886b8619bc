"""Graph navigation: which agents learn a new world within an episode."""
