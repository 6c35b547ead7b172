"""The claims of the paper in its order, then those that follow from the code."""

from mnist_ops.compare.findings.claim import Section

from . import code, conclusions, devices, resnets, svms

CLAIMS = tuple(
    Section(part.SECTION, part.CLAIMS) for part in (resnets, svms, devices, conclusions, code)
)
