"""What the commands do: train, validate, compare, demo, bench."""
