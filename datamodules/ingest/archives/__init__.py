"""Archives of users, zip and tar: what is in them, as every system writes them."""
