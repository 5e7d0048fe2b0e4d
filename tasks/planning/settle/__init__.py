"""What rules do: each function settles some flags of a draft, with the reason and its source."""
