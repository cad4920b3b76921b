"""PyTorch's operator, module and optimizer databases, put to graphgrad: a score, what is missing.

The databases come with PyTorch (``torch.testing._internal``; they need ``expecttest``): sample
inputs for every operator, module and optimizer. Each sample runs in PyTorch and here from the same
numbers, and outputs and gradients are compared.

``python -m tests.conformance`` prints the table of the README, ``--only conv2d softmax -v`` what
went wrong in some entries.
"""
