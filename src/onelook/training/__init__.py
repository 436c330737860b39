"""From labelled pictures to a fitted head: one loop, three ways to fit, the search for the depth."""
