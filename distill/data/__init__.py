"""Images from any source as one `Split`: readers, decoding, mixtures, streaming."""
