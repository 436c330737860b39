"""Faces, and anything else that has identities: galleries of who is known, finding faces in photos, verifying and identifying."""
