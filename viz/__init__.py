"""What is shown: terminal tables, figures and the page. Reads comparisons and the store only; it never measures."""
