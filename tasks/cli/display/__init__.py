"""What a terminal shows while a command runs: bars, remaining time, and lines that stay; plain lines elsewhere."""
