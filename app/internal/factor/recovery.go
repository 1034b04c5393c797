package factor

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store"
)

// RecoveryCodes is how many recovery codes a user gets at a time.
const RecoveryCodes = 10

const (
	recoveryBytes = 10 // 80 bits: nobody guesses one, so a plain hash is enough to keep it
	recoveryGroup = 4  // characters between dashes
)

// crockford has no letters that people take for others.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewRecoveryCodes makes a set of codes, and what is kept of each.
func NewRecoveryCodes(userID uuid.UUID) (codes []string, hashes []store.TokenHash) {
	for range RecoveryCodes {
		secret := make([]byte, recoveryBytes)
		_, _ = rand.Read(secret) // never fails
		text := crockford.EncodeToString(secret)
		var groups []string
		for ; len(text) > 0; text = text[recoveryGroup:] {
			groups = append(groups, text[:recoveryGroup])
		}
		codes = append(codes, strings.Join(groups, "-"))
		hashes = append(hashes, hashRecovery(userID, secret))
	}
	return codes, hashes
}

// RecoveryHash is what is kept of a code, however it was typed; false where it is none.
func RecoveryHash(userID uuid.UUID, code string) (store.TokenHash, bool) {
	const most = 64 // bytes, spaces and dashes included
	if len(code) > most {
		return store.TokenHash{}, false
	}
	text := strings.NewReplacer("-", "", " ", "", "o", "0", "i", "1", "l", "1").Replace(strings.ToLower(code))
	secret, err := crockford.DecodeString(text)
	if err != nil || len(text) != crockford.EncodedLen(recoveryBytes) || len(secret) != recoveryBytes {
		return store.TokenHash{}, false
	}
	return hashRecovery(userID, secret), true
}

func hashRecovery(userID uuid.UUID, secret []byte) store.TokenHash {
	return sha256.Sum256(append(userID[:], secret...))
}
