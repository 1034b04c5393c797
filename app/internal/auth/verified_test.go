package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

func TestVerifiedIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	v := newVerified()
	hash := func(n uint64) (h [sha256.Size]byte) {
		binary.BigEndian.PutUint64(h[:], n)
		return h
	}
	v.put(hash(0), Access{TokenID: "used"})
	for n := range uint64(10 * verifiedMost) {
		v.put(hash(n+1), Access{})
		if n%100 == 0 {
			if a, ok := v.get(hash(0)); !ok || a.TokenID != "used" {
				t.Fatalf("forgotten after %d others", n)
			}
		}
		if len(v.young) > verifiedMost || len(v.old) > verifiedMost {
			t.Fatalf("%d and %d entries", len(v.young), len(v.old))
		}
	}
	if _, ok := v.get(hash(1)); ok {
		t.Fatal("what nobody used is still there")
	}
}
