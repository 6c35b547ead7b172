"""Figures: numbers first, then a drawing of them; how they look, and as files."""
