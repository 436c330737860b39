"""Networks cut into stages: their weights, the networks of the course notes, and the engines that run them."""
