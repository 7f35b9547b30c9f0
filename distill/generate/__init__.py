"""From words to labelled pictures: generators, requests, drawing, and the folder they end in."""
