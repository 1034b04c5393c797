package auth

import (
	"crypto/sha256"
	"sync"
)

// verifiedMost bounds each of the two generations of verified: less than 1 MiB together.
const verifiedMost = 2048

// verified remembers what tokens that have been verified say, by the hash of
// their whole text: a signature that held once holds until the token expires,
// and checking it anew would be a quarter of a small request's work. When the
// young generation is full the old one is forgotten. Expiry is for the caller.
type verified struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]Access
}

func newVerified() *verified {
	return &verified{young: make(map[[sha256.Size]byte]Access)}
}

func (v *verified) get(hash [sha256.Size]byte) (Access, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if a, ok := v.young[hash]; ok {
		return a, true
	}
	a, ok := v.old[hash]
	if ok {
		v.keep(hash, a)
	}
	return a, ok
}

func (v *verified) put(hash [sha256.Size]byte, a Access) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keep(hash, a)
}

// keep is called with mu held.
func (v *verified) keep(hash [sha256.Size]byte, a Access) {
	if len(v.young) >= verifiedMost {
		v.young, v.old = make(map[[sha256.Size]byte]Access), v.young
	}
	v.young[hash] = a
}
