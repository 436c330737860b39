"""How right answers are: one judge for every kind of answer, calibration, intervals."""
