"""Makes models that know their place in a cascade: losses, trainer, recipes, bundled tasks."""
