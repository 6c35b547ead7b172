"""What a fitted classifier costs: operations an image, numbers it keeps."""

# Operations on the sum over the pixels (inner product, squared or absolute distance) that turn it
# into a kernel value: scale and exponential, scale and tangent.
_OPS_AFTER_SUM = {"linear": 0, "rbf": 2, "sigmoid": 2, "laplacian": 2}


def predict_flops(
    n_support: int, n_features: int, n_classes: int, kernel: str, degree: int = 3
) -> int:
    """Count the operations that classify one image, a multiply-accumulate counted as one.

    One kernel value for each support vector, ``n_features`` multiply-accumulates and then the
    kernel's own function of that sum; and the one-vs-one decision functions, in which each
    support vector takes part ``n_classes - 1`` times (Chang and Lin, LIBSVM, ACM TIST 2(3), 2011,
    section 2.1: sum of alpha_i y_i K(x_i, x) + b for each pair of classes)::

        n_support * (n_features + after_sum) + (n_classes - 1) * n_support

    ``after_sum`` is 0 for linear, `degree` for poly (a scale, then degree - 1 products), 2 for
    the others (a scale, then one exponential or tangent).
    """
    after_sum = degree if kernel == "poly" else _OPS_AFTER_SUM[kernel]
    return n_support * (n_features + after_sum) + (n_classes - 1) * n_support


def stored_numbers(n_support: int, n_features: int, n_classes: int) -> int:
    """Count a classifier's numbers: support vectors, dual coefficients, intercepts."""
    pairs = n_classes * (n_classes - 1) // 2
    return n_support * n_features + (n_classes - 1) * n_support + pairs
