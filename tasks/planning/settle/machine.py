"""What the machine decides: cache, precision, loader processes."""
