"""What a user is told of settings that cannot be."""

from __future__ import annotations

import pytest

from honed.config import make_config
from honed.errors import ConfigError


@pytest.mark.parametrize(("value", "shown"), [("0", "0"), ("half", "'half'")])
def test_a_setting_that_may_be_a_number_or_a_word_is_one_fault(value: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config({"data": "x", "layers": value, "prevalence": 5})
    told = str(caught.value)
    assert "has 2 faults" in told and told.count("--layers") == 1
    assert f"Got {shown} instead" in told and "'auto', 'all' or 'measured'" in told
