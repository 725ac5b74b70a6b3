"""Starting points that a domain's literature uses, as plain YAML files to read and to copy."""
