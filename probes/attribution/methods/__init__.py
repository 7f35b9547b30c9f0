"""Attribution methods, and what an encoder must offer for each."""
