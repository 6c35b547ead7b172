"""Scripts that a user would run instead. None imports mnist-ops: any Python with torch will do."""
