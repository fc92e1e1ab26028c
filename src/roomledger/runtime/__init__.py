"""What moves events: commands in, views and projections on."""
