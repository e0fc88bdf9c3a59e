"""For eyes only: tables, the live display, figures and the page; nothing is computed here."""
