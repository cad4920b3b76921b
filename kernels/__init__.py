"""The machine: loop nests, kernels, the kernel cache and the executor of Programs."""
