"""Arithmetic of places in pictures: boxes, anchors, key points, masks, how a picture lies in the network's input; no networks, no files."""
