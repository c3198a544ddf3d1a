"""GEMMNet (arXiv 2509.11102): missing modalities are painted before they are read; and its plain counterparts."""
