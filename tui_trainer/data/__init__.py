"""Data sets, their splits, and the batches that training takes from them."""
