"""The papers' printed tables beside measured numbers."""
