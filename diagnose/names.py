"""File names of outside names."""

from __future__ import annotations

import hashlib
import re


def file_name(subject: str) -> str:
    """Make a file name of a subject's name; names that need changing get a hash so that no two fall together."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", subject).strip(".-") or "subject"
    return plain[:100] if plain == subject and len(plain) <= 100 else f"{plain[:80]}-{hashlib.sha256(subject.encode()).hexdigest()[:8]}"
