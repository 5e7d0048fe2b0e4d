"""From the fingerprint of a data set, the machine and the time to every setting. Reads numbers alone; no torch."""
