"""Builds what the package ships of the pocket: its teacher, its pipeline and its images; not part of the wheel."""
