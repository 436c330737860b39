"""Models that watch: films and cameras in (``source``), answers over time out (``watch``, ``smooth``), shots, highlights, a summary."""
