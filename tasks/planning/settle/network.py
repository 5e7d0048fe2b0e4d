"""The network and the weights that it starts from."""
