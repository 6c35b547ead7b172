"""The method of a spec class: how its cells are fitted, and the format of its models.

The code is named by its location and imported when it is used, so reading specs needs no torch.
"""

from dataclasses import dataclass

from mnist_ops.study import lookup
from mnist_ops.study.specs import EstimatorSpec, ResNetSpec, Spec, SvmSpec


@dataclass(frozen=True)
class Method:
    """A way to fit models.

    Attributes:
        name: its name in the canonical form of specs.
        spec: the class of its specs.
        fit: ``module:function``, called with cells that one fit serves, the images and a
            `mnist_ops.fitting.methods.Work`.
        cost: ``module:function``, from a spec to the cost of its fit, in relative units of the
            method.
        model_format: the module that writes, reads and applies its models, as
            `mnist_ops.serving.inference.classifier.ModelFormat`; empty where they cannot be kept as
            numbers alone, so that none is registered.
        check: ``module:function``, raises `InvalidInput` where the model of a spec, a user's
            function, does not fit its data set.
        uses_torch: whether torch computes its fits, so that the CPU's instruction set decides how
            they are rounded.
        imports: the module that takes the longest to import of those that a fit needs; workers of
            one machine then import it once.
    """

    name: str
    spec: type[Spec]
    fit: str
    cost: str
    model_format: str = ""
    check: str = ""
    uses_torch: bool = False
    imports: str = ""


METHODS = {
    method.name: method
    for method in (
        Method(
            name=ResNetSpec.family,
            spec=ResNetSpec,
            fit="mnist_ops.fitting.resnet_method:fit",
            cost="mnist_ops.fitting.resnet_method:cost",
            model_format="mnist_ops.serving.inference.networks",
            check="mnist_ops.fitting.resnet.models:complexity",
            uses_torch=True,
            imports="mnist_ops.fitting.resnet.train",
        ),
        Method(
            name=SvmSpec.family,
            spec=SvmSpec,
            fit="mnist_ops.fitting.svm_method:fit",
            cost="mnist_ops.fitting.svm_method:cost",
            model_format="mnist_ops.serving.inference.svms",
            imports="mnist_ops.fitting.svm.fitting",
        ),
        Method(
            name=EstimatorSpec.family,
            spec=EstimatorSpec,
            fit="mnist_ops.fitting.estimators:fit",
            cost="mnist_ops.fitting.estimators:cost",
            check="mnist_ops.fitting.estimators:made",
        ),
    )
}


def method_of(spec: Spec) -> Method:
    """Return the method that fits `spec`."""
    found: Method = lookup.named("methods", spec.family)
    return found
