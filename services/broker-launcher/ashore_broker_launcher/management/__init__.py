"""What the management API shows and does: views, pages, explanations, and applying configurations."""
