"""Where the tests find what lies outside their own folders."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLES = PROJECT / "examples"
NOTEBOOKS = EXAMPLES / "notebooks"
FIXTURES = PROJECT / "tests" / "fixtures"
SHARED = PROJECT.parent / "shared"
