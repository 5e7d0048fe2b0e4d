"""Whether a map may be believed: random weights, truth, and what happens where its bright places are taken away."""
