"""GEMMNet (arXiv 2509.11102): missing modalities are generated before they are read."""
