"""The files of the accounts, in a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 512 * 1024**2
PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


@dataclass
class StoredFile:
    """One file: what the API says of it, and where it lies."""

    id: str
    org: str
    path: Path
    filename: str
    purpose: str
    created_at: int
    bytes: int
    expires_at: int | None = None
    hidden: int = 0  # so many looks at it find nothing

    def as_object(self) -> dict[str, Any]:
        """Return the file as the API shows it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }

    def seen(self, now: float) -> bool:
        """Return whether this look at the file finds it."""
        if self.hidden:
            self.hidden -= 1
            return False
        return self.expires_at is None or now < self.expires_at
