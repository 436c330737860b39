"""Asking heads about pictures, whole or piece by piece."""
