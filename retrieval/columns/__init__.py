"""The columns of photos: their kinds, the schema of an index, capture data, and the filters that use them."""
