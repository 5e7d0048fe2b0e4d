"""What a data set is like, in numbers that a plan is made from; without torch where it is read back."""
