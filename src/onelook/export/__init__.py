"""A model as a file that other programs run. ``graph``: the model as one network, from pixels to answers; one module a target;
``compare``: whether a file says what the model says."""
