"""Looking inside: what a network's layers cost, what they see, which pictures excite a unit, and why a head answered."""
