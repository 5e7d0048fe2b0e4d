"""``sweep``: trainings that look for better settings: a space of flags, trials as runs, a study on disk."""
