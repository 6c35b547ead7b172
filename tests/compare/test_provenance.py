"""Where the runs of a report were made, and with what."""

import pandas as pd

from mnist_ops.compare.provenance import provenance
from mnist_ops.compare.runs import typed


def computed_with(*sets: str | None) -> str:
    """What a report says of networks that were computed with these instruction sets."""
    return provenance(
        typed(pd.DataFrame({"run_id": range(len(sets)), "instruction_set": sets}))
    ).mix


def test_a_report_says_if_networks_were_computed_with_several_instruction_sets() -> None:
    # Without a set: fits that none decides, such as support vector machines.
    assert computed_with(None, "AVX2", "AVX2") == ""
    assert computed_with(None) == ""
    mixed = computed_with("AVX2", None, "AVX512_CORE", "AVX2")
    assert mixed.startswith("The networks were computed with AVX2 (2 runs) and AVX512_CORE (1 run)")
