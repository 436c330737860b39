"""Models that watch films and cameras: answers over time (``watch``), smooth, followed and counted; shots, highlights, a summary, matches."""
