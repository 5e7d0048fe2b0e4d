"""Batch, learning rate, schedule, regularisation and averaging."""
