"""Our own model and CPU kernels for TVM: a decoder in Relax, compiled by LLVM."""
