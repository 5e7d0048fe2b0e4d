"""Planning on the command line: what was given, the plan before a training, and what is said of it."""
