"""`python -m honed` works like `honed`."""

from __future__ import annotations

from honed.app.cli import main

if __name__ == "__main__":
    main()
