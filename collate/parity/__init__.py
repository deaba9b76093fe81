"""Whether two cells produce the same text, and how far their distributions lie apart where they do not."""
