"""One pass over a picture: what it leaves behind, how it is made, and how it is kept on disk."""
