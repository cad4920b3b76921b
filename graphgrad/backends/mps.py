"""Apple's GPUs are not supported."""


def is_available() -> bool:
    """Whether tensors can live on an Apple GPU: no."""
    return False


def is_built() -> bool:
    """Whether this package can use one: no."""
    return False
