"""What `ulmfit doctor` looks at: small functions, each of which returns findings with their cure."""
