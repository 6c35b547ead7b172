"""What the paper claims, in its order, then what follows from the code."""

from mnist_ops.compare.findings.claim import Section
from pipelines.paper.findings import code, conclusions, devices, resnets, svms

CLAIMS = tuple(
    Section(part.SECTION, part.CLAIMS) for part in (resnets, svms, devices, conclusions, code)
)
