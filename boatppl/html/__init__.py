"""Spaces, trials and studies as a notebook shows them: HTML for light and for dark pages."""
