"""The grid: programs for CUDA devices, or for their emulator on the CPU.

``driver`` talks to the device, ``memory`` holds its arrays, ``target`` says how regions become
kernels of threads in blocks. Nothing here is imported before a tensor is put on a device.

    lower       regions → GridCalls, whose kernels are in the Grid IR (`gridir`)
    emit        Grid IR → numba-cuda source; compiler makes PTX and cubins of it
    emulate     Grid IR → a kernel for the CPU that does what a grid would, block by block
"""
