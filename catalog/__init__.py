"""Products, schemas, taxonomies and files: what every other part of shelfmark stands on."""
