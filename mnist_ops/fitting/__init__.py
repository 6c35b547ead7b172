"""How a spec is fitted."""
