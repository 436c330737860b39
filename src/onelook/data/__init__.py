"""From files to samples: pictures, readers, checks, splits, views."""
