"""A model behind an address of this machine: ``pool`` answers, ``app`` speaks HTTP, ``run`` starts and stops it."""
