"""The grid: programs for CUDA devices, or for their emulator on the CPU.

``driver`` talks to the device, ``memory`` holds its arrays, ``target`` says how regions become
kernels of threads in blocks. Nothing here is imported before a tensor is put on a device.
"""
