"""Networks that timm does not have, dressed so that ``Backbone`` can read them."""
