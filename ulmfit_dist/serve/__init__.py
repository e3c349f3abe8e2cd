"""From a model or ensemble folder to predictions."""
