"""What can a memory recall that is written token by token? Three tasks over learning rates and seeds."""
