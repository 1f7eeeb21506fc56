"""Society files that are loaded one after another in one process."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import pytest

from populace.core.errors import ScenarioError
from populace.data.societies import Origin, find_society, load_society


def test_a_text_that_cannot_be_loaded_leaves_the_society_of_the_same_file_as_it_was():
    """Its public fields are looked up in its module by name."""
    path = Path(__file__).parents[1] / "support" / "societies.py"
    origin = find_society(str(path))
    society = load_society(origin)
    with pytest.raises(ScenarioError):
        load_society(Origin(origin.name, "raise ValueError\n"))
    assert get_type_hints(society.agent)
