"""Built-in plugins, found by entry point exactly as a third party's."""
