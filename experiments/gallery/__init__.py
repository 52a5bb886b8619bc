"""The gallery of the documentation: small populations, and every figure that commands draw of them."""
