"""The verification protocol: `verification.proto`, and the code that `make proto` generates from it."""
