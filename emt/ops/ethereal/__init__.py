"""Networks that write their own weights while they read."""
