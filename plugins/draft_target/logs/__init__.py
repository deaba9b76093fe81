"""Reading what a public draft/target benchmark wrote."""
