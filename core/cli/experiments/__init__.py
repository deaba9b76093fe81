"""Commands about experiments that were measured: what is done of them, new names, bundles for others.

``cli/main.py`` finds them by name.

Imports: api, cli, cli.guidance, cli.plugins, collate, isolation, measure, viz, viz.drawing. Imported by: nothing.
"""
