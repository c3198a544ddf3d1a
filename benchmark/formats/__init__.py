"""Text files, Markdown, LaTeX and terminal output."""
