"""Variable memories: which directions of the state hold which of the task's variables."""
