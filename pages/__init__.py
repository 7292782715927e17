"""Pages for people: drawings as inline SVG, and the template that every page begins with."""
