"""What a user would run instead. Nothing here imports mnist-ops: any Python with torch runs it."""
