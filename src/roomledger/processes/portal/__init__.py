"""The portal: where clients connect."""
