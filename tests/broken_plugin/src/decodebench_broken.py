"""A plugin whose engine is not installed and that imports it too early."""

import an_engine_that_is_not_installed  # noqa: F401
