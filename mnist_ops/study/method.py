"""How the cells of a spec class are fitted, and what their models are: one `Method` each.

The code is named by its place and imported when it is used: what only reads specs needs no torch.
"""

from dataclasses import dataclass

from mnist_ops.study import lookup
from mnist_ops.study.specs import EstimatorSpec, ResNetSpec, Spec, SvmSpec


@dataclass(frozen=True)
class Method:
    """A way to fit models.

    Attributes:
        name: as in the canonical form of its specs.
        spec: the class of its specs.
        fit: ``module:function``, called with cells that one fit serves, the images and a
            `mnist_ops.fitting.methods.Work`.
        cost: ``module:function``, from a spec to what its fit costs, in units that only compare
            with those of the same method.
        model_format: the module that writes, reads and applies its models, as
            `mnist_ops.serving.inference.classifier.ModelFormat`; empty where they cannot be kept as
            numbers alone, so that none is registered.
        check: ``module:function``, raises `InvalidInput` where the model of a spec, a user's
            function, does not fit its data set.
    """

    name: str
    spec: type[Spec]
    fit: str
    cost: str
    model_format: str = ""
    check: str = ""


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
        ),
        Method(
            name=SvmSpec.family,
            spec=SvmSpec,
            fit="mnist_ops.fitting.svm_method:fit",
            cost="mnist_ops.fitting.svm_method:cost",
            model_format="mnist_ops.serving.inference.svms",
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
