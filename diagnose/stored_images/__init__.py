"""Images kept beside a report: thumbnails, edited samples, attribution maps and the layout of the map."""
