"""The ``supervision`` package, imported without its warning that OpenCV is missing; import it from here.

onelook needs no OpenCV. Without it supervision draws with Pillow: the same boxes and outlines, 35 ms a box longer on a picture of 12
megapixels.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="OpenCV .* is not installed", category=UserWarning)
    import supervision

__all__ = ["supervision"]
