"""Questions asked of populations: each folder is data, with its expected outcome and how to run it."""
