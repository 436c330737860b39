"""Models that watch films and cameras: answers over time, followed and counted things, shots, highlights, a summary, matches."""
