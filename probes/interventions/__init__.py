"""What a student answers when one cue of an image is removed, isolated or exchanged."""
