"""How the models that the plugin `reference` ships were trained and measured; see README.md here."""
