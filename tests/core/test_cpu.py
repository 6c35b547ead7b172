"""The instruction set of this CPU, as told without torch."""

import torch

from mnist_ops.core import instruction_set


def test_torch_computes_with_the_same_width() -> None:
    found = instruction_set.of_cpu()
    width = torch.backends.cpu.get_cpu_capability()
    assert found in ("", *instruction_set.SETS)
    assert found.startswith("AVX512") == (width == "AVX512")
    assert (found == "AVX2") == (width == "AVX2")
