package authn

import "coffer/app/domain"

// RecodeHash decodes a password's hash and encodes it again.
func RecodeHash(s string) (again string, ok bool) {
	h, err := decodePHC(domain.SecretString(s))
	return string(encodePHC(h).Reveal()), err == nil
}
