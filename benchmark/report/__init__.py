"""`imss report`: one page that shows all run records, in a browser and without a server."""
