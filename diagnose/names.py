"""File names for names that come from outside."""

from __future__ import annotations

import hashlib
import re


def file_name(subject: str) -> str:
    """Return a file name for an encoder's name; a name that has to be changed gets a hash, so that no two files coincide."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", subject).strip(".-") or "subject"
    return plain[:100] if plain == subject and len(plain) <= 100 else f"{plain[:80]}-{hashlib.sha256(subject.encode()).hexdigest()[:8]}"
