"""The product's side of each claim, and the bounds that a machine sets."""
