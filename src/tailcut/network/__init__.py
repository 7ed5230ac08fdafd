"""Surgery on torch modules: find the head, stream features, filter layers, fold, store."""
